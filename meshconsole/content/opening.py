"""Bringing index and block files together at the start. Blocking.

The files are the truth about blocks. What they have and the index lacks is taken over, with its links;
what the index has and they lack is marked as missing. If the index itself is missing or damaged it is
made anew, and every block that nothing links to is pinned: it may be a file somebody wants to keep.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from meshconsole.content.cid import DAG_PB, RAW, Cid
from meshconsole.content.dagpb import Node, decode_node
from meshconsole.content.index import Differences, Entry, Index
from meshconsole.content.multibase import encode_base32
from meshconsole.content.roots import Pin, Root
from meshconsole.content.unixfs import decode_unixfs
from meshconsole.core.errors import CorruptData, RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from meshconsole.content.blocks import BlockStore

INDEX_NAME = "index.db"
RECOVERED_NAME = "recovered"

_DATABASE_SUFFIXES = ("", "-wal", "-shm")
_NODE_STARTS = (b"\x12", b"\x0a", b"")
"""First bytes of a dag-pb node: a link, data, or nothing at all."""
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Corrupt:
    """A block whose file failed its check, by the name of that file."""

    block: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Opened:
    """`rebuilt` is a sentence, empty if the index was sound; `found` counts the blocks taken over."""

    index: Index
    rebuilt: str
    found: int
    corrupt: tuple[Corrupt, ...]


def open_index(path: Path, key: bytes, files: BlockStore, now: float) -> Opened:
    """`path` is the folder of the blobs. Raises CorruptData, Fatal, Unavailable."""
    files.open()
    try:
        index, differences = _open_and_compare(path, key, files)
        damage = ""
    except CorruptData as error:
        _set_aside(path)
        index, differences = _open_and_compare(path, key, files)
        damage = f"{error.sentence} It was set aside and made again from the block files."
    try:
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
    except BaseException:
        index.close()
        raise
    return Opened(index, damage, found, tuple(corrupt))


def _open_and_compare(path: Path, key: bytes, files: BlockStore) -> tuple[Index, Differences]:
    index = Index(path / INDEX_NAME, key)
    try:
        return index, index.compare(files.listing())
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
