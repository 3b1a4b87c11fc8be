"""Bringing index and block files together, at the start and when they are in reach again. Blocking.

The files are the truth about blocks. What they have and the index lacks is taken over, with its links;
what the index has and they lack is marked as missing. If the index itself is missing or damaged it is
made anew, and every block that nothing links to is pinned: it may be a file somebody wants to keep.
"""

from __future__ import annotations

import contextlib
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from meshconsole.content.formats.cid import DAG_PB, RAW, Cid
from meshconsole.content.formats.dagpb import Node, decode_node
from meshconsole.content.formats.multibase import encode_base32
from meshconsole.content.formats.unixfs import decode_unixfs
from meshconsole.content.store.index import Entry, Index
from meshconsole.content.store.roots import Pin, Root
from meshconsole.core.errors import CorruptData, RemoteError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from meshconsole.content.store.blocks import BlockStore
    from meshconsole.content.store.index import Differences

INDEX_NAME = "index.db"
RECOVERED_NAME = "recovered"

_DATABASE_SUFFIXES = ("", "-wal", "-shm")
_NODE_STARTS = (b"\x12", b"\x0a", b"")
"""First bytes of a dag-pb node: a link, data, or nothing at all."""
_BATCH = 256


class Corrupt(msgspec.Struct, frozen=True):
    """A block whose file failed its check, by the name of that file."""

    block: str
    sentence: str


class Compared(msgspec.Struct, frozen=True):
    """`found` counts the blocks taken over, `rebuilt` is a sentence if there was no index to compare with."""

    found: int = 0
    corrupt: tuple[Corrupt, ...] = ()
    rebuilt: str = ""


class Opened(msgspec.Struct, frozen=True):
    """`compared` is None while the blocks cannot be reached, for the reason `away`."""

    index: Index
    compared: Compared | None
    away: Unavailable | None = None


def open_index(path: Path, key: bytes, files: BlockStore, now: float) -> Opened:
    """`path` is the folder of the blobs. Raises CorruptData, Fatal, Unavailable (of the index)."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    away: Unavailable | None = None
    try:
        files.open()
    except Unavailable as error:
        away = error
    try:
        index, differences = _open_and_compare(path, key, None if away else files)
        damage = ""
    except CorruptData as error:
        _set_aside(path)
        index, differences = _open_and_compare(path, key, None if away else files)
        damage = f"{error.sentence} It was set aside and made again from the block files."
    try:
        if differences is None:
            return Opened(index, None, away)
        return Opened(index, _take_over(index, differences, files, now, damage))
    except BaseException:
        index.close()
        raise


def compare(index: Index, files: BlockStore, now: float) -> Compared:
    """What `open_index` does, for blocks that were out of reach then, or since. Raises Unavailable."""
    return _take_over(index, index.compare(files.listing()), files, now, "")


def _take_over(
    index: Index, differences: Differences, files: BlockStore, now: float, damage: str
) -> Compared:
    corrupt: list[Corrupt] = []
    for multihash in differences.suspect:
        if _load(files, multihash, corrupt) is None:
            index.lose([multihash])
    found = 0
    entries = _examined(differences.unknown, files, corrupt)
    while batch := list(islice(entries, _BATCH)):
        index.record(batch, now)
        found += len(batch)
    if index.is_new and found:
        _pin_everything(index, files, corrupt, now)
        damage = damage or "The index of the blocks was missing and has been made again from their files."
    index.is_new = False
    return Compared(found, tuple(corrupt), damage)


def _open_and_compare(path: Path, key: bytes, files: BlockStore | None) -> tuple[Index, Differences | None]:
    index = Index(path / INDEX_NAME, key)
    try:
        return index, index.compare(files.listing()) if files is not None else None
    except BaseException:
        index.close()
        raise


def _set_aside(path: Path) -> None:
    for suffix in _DATABASE_SUFFIXES:
        with contextlib.suppress(FileNotFoundError):
            (path / (INDEX_NAME + suffix)).replace(path / (INDEX_NAME + suffix + ".damaged"))


def _examined(
    unknown: Sequence[tuple[bytes, int]], files: BlockStore, corrupt: list[Corrupt]
) -> Iterator[Entry]:
    for multihash, size in unknown:
        if files.first_byte(multihash) not in _NODE_STARTS:
            # Most blocks, and the largest: not read here, for that would take minutes on a card.
            yield Entry(multihash, size)
            continue
        data = _load(files, multihash, corrupt)
        if data is not None:
            node = _as_node(data)
            yield Entry(multihash, size, tuple(link.cid.multihash for link in node.links) if node else ())


def _as_node(data: bytes) -> Node | None:
    """The file does not tell the codec. A raw block that reads as a node keeps a little too much alive."""
    try:
        node = decode_node(data)
        decode_unixfs(node.data or b"")
    except RemoteError:
        return None
    return node


def _pin_everything(index: Index, files: BlockStore, corrupt: list[Corrupt], now: float) -> None:
    for multihash in index.parentless():
        is_node = False
        if files.first_byte(multihash) in _NODE_STARTS:
            data = _load(files, multihash, corrupt)
            is_node = data is not None and _as_node(data) is not None
        cid = Cid.decode(bytes((1, DAG_PB if is_node else RAW)) + multihash)
        index.put_root(Root(str(cid), RECOVERED_NAME, False, None, now, (Pin(),)), multihash)


def _load(files: BlockStore, multihash: bytes, corrupt: list[Corrupt]) -> bytes | None:
    try:
        return files.get(multihash)
    except CorruptData as error:
        corrupt.append(Corrupt(encode_base32(multihash), error.sentence))
        return None
