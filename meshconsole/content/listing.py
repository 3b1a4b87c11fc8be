"""Reading a directory back from its blocks, one at a time, whole or sharded. Pure.

Blocks are strangers' work. An entry of a shard must hang where the hash of its name puts it: so no
entry can be met twice, and a tree of shards that refers to itself is found out at its first entry.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from meshconsole.content.directory import HASH_BITS, Entry
from meshconsole.content.formats.cid import DAG_PB, Cid
from meshconsole.content.formats.dagpb import Link, Node, decode_node
from meshconsole.content.formats.murmur import MURMUR3_X64_64, murmur3_x64_64
from meshconsole.content.formats.unixfs import Kind, UnixFs, decode_unixfs
from meshconsole.core.errors import LocalError, RemoteError
from meshconsole.core.filenames import check_name

MAX_ENTRIES = 1 << 20
MAX_FANOUT = 1024
"""The largest that is written anywhere; a shard of 2 MiB could not hold many more links."""


class _Shard(msgspec.Struct, frozen=True):
    """`prefix` are the `bits` first bits of the hashes of all names below."""

    cid: Cid
    bits: int
    prefix: int
    fanout: int


@dataclass(slots=True)
class DirectoryReader:
    """Ask `wanted`, give that block to `feed`, take the entries, until `wanted` is None."""

    root: Cid
    max_entries: int = MAX_ENTRIES
    _stack: list[_Shard] = field(init=False)
    _entries: int = 0
    _names: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._stack = [_Shard(self.root, 0, 0, 0)]

    @property
    def wanted(self) -> Cid | None:
        return self._stack[-1].cid if self._stack else None

    def feed(self, block: bytes) -> list[Entry]:
        """Entries in the order of the blocks; the block must match the CID that was `wanted`.

        Raises RemoteError("not-a-directory" | "bad-directory" | "bad-name" | "bad-dag-pb" | ...).
        """
        if not self._stack:
            raise LocalError("The directory has been read to its end.")
        shard = self._stack.pop()
        if shard.cid.codec != DAG_PB:
            raise RemoteError("not-a-directory", f"{shard.cid} is not a directory.")
        node = decode_node(block)
        message = decode_unixfs(node.data or b"")
        if message.kind == Kind.HAMT_SHARD:
            entries = self._open_shard(shard, node, message)
        elif message.kind == Kind.DIRECTORY and not shard.bits:
            entries = [_entry(link.name or "", link) for link in node.links]
        else:
            raise RemoteError("not-a-directory", f"{shard.cid} is not a directory.")
        self._count(entries)
        return entries

    def _open_shard(self, shard: _Shard, node: Node, message: UnixFs) -> list[Entry]:
        fanout = fanout_of(message)
        if shard.fanout not in (0, fanout):
            raise _bad("shards of one directory have different fan-outs")
        bits = shard.bits + fanout.bit_length() - 1
        if bits > HASH_BITS:
            raise _bad("shards are nested deeper than names have hashes")
        digits = len(f"{fanout - 1:X}")
        positions: list[int] = []
        entries: list[Entry] = []
        below: list[_Shard] = []
        for link in node.links:
            name = link.name or ""
            position = _position(name[:digits], digits, fanout)
            positions.append(position)
            prefix = shard.prefix << (bits - shard.bits) | position
            if len(name) == digits:
                below.append(_Shard(link.cid, bits, prefix, fanout))
                continue
            entry = _entry(name[digits:], link)
            if murmur3_x64_64(entry.name.encode()) >> (HASH_BITS - bits) != prefix:
                raise _bad("an entry hangs in another place than its name has")
            entries.append(entry)
        if _bitfield(positions) != int.from_bytes(message.data or b"", "big") or len(set(positions)) != len(
            positions
        ):
            raise _bad("the bits of a shard do not say what hangs in it")
        if shard.bits and not positions:
            raise _bad("a shard is empty")
        self._stack.extend(reversed(below))
        return entries

    def _count(self, entries: list[Entry]) -> None:
        self._entries += len(entries)
        if self._entries > self.max_entries:
            raise _bad(f"it has more than {self.max_entries} entries")
        for entry in entries:
            if entry.name in self._names:
                raise RemoteError("bad-name", "A directory has two entries of one name.")
            self._names.add(entry.name)


def _entry(name: str, link: Link) -> Entry:
    return Entry(check_name(name), link.cid, link.tsize or 0)


def fanout_of(message: UnixFs) -> int:
    """Of a shard. Raises RemoteError("bad-directory")."""
    fanout = message.fanout or 0
    if message.hash_type != MURMUR3_X64_64:
        raise _bad("its shards use another hash than murmur3-x64-64")
    if not 8 <= fanout <= MAX_FANOUT or fanout & (fanout - 1):
        raise _bad(f"a fan-out of {fanout} is not allowed")
    if len(message.data or b"") > fanout // 8:
        raise _bad("the bits of a shard are too many")
    return fanout


def _position(text: str, digits: int, fanout: int) -> int:
    if len(text) == digits and all(char in "0123456789ABCDEF" for char in text):
        position = int(text, 16)
        if position < fanout:
            return position
    raise _bad("a link of a shard does not say where it hangs")


def _bitfield(positions: list[int]) -> int:
    bits = 0
    for position in positions:
        bits |= 1 << position
    return bits


def _bad(why: str) -> RemoteError:
    return RemoteError("bad-directory", f"The directory is malformed: {why}.")
