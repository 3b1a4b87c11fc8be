"""Directories as blocks: one block of named links, or a HAMT of shards where that would be large. Pure.

A shard has up to 256 links, each under two hexadecimal digits: what hangs there is an entry, whose name
follows the digits, or a shard for the next eight bits of the names' hashes. Both profiles of IPIP-499
give the CIDs of every other writer; they differ in how they measure what is large.
Source: specs.ipfs.tech/unixfs, specs.ipfs.tech/ipips/ipip-0499.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from meshconsole.content.formats.dagpb import Link, Node, encode_node
from meshconsole.content.formats.murmur import MURMUR3_X64_64, murmur3_x64_64
from meshconsole.content.formats.unixfs import Kind, UnixFs, encode_unixfs
from meshconsole.content.layout import Branch
from meshconsole.core.errors import RemoteError
from meshconsole.core.filenames import check_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshconsole.content.formats.cid import Cid
    from meshconsole.content.layout import Profile

SHARD_OVER_BYTES = 256 << 10
FANOUT = 256
HASH_BITS = 64
_FANOUT_BITS = 8


class Entry(msgspec.Struct, frozen=True):
    """`tsize` is the sum of all blocks of what the entry names, in bytes."""

    name: str
    cid: Cid
    tsize: int


class Directory(msgspec.Struct, frozen=True):
    """`branches` are its blocks, children first, the root last."""

    cid: Cid
    tsize: int
    branches: tuple[Branch, ...]


def build_directory(entries: Iterable[Entry], profile: Profile) -> Directory:
    """Raises RemoteError("bad-name") for a name that no reader takes, and for one that is given twice."""
    given = list(entries)
    by_name = {check_name(entry.name): entry for entry in given}
    if len(by_name) != len(given):
        raise RemoteError("bad-name", "A directory has two entries of one name.")
    ordered = sorted(by_name.values(), key=lambda entry: entry.name.encode())
    node = Node(tuple(_link(entry.name, entry) for entry in ordered), encode_unixfs(UnixFs(Kind.DIRECTORY)))
    if profile.shards_by_block_size:
        size = len(encode_node(node))
    else:
        size = sum(len(entry.name.encode()) + len(entry.cid.encode()) for entry in ordered)
    branches: list[Branch] = []
    if size > SHARD_OVER_BYTES:
        hashed = [(murmur3_x64_64(entry.name.encode()), entry) for entry in ordered]
        cid, tsize = _shard(hashed, profile, 0, branches)
    else:
        cid, tsize = _finish(node, profile, branches)
    return Directory(cid, tsize, tuple(branches))


def _shard(
    entries: list[tuple[int, Entry]], profile: Profile, bits_used: int, out: list[Branch]
) -> tuple[Cid, int]:
    if bits_used >= HASH_BITS:
        raise RemoteError("bad-name", "Two names of a directory have one hash and cannot stand side by side.")
    buckets: dict[int, list[tuple[int, Entry]]] = {}
    for each in entries:
        buckets.setdefault(each[0] >> (HASH_BITS - bits_used - _FANOUT_BITS) & (FANOUT - 1), []).append(each)
    bitfield = 0
    links: list[Link] = []
    for position in sorted(buckets):
        bitfield |= 1 << position
        bucket = buckets[position]
        if len(bucket) == 1:
            entry = bucket[0][1]
            links.append(_link(f"{position:02X}{entry.name}", entry))
        else:
            cid, tsize = _shard(bucket, profile, bits_used + _FANOUT_BITS, out)
            links.append(Link(cid, f"{position:02X}", tsize))
    message = UnixFs(
        Kind.HAMT_SHARD,
        data=bitfield.to_bytes(FANOUT // 8, "big").lstrip(b"\0"),
        hash_type=MURMUR3_X64_64,
        fanout=FANOUT,
    )
    return _finish(Node(tuple(links), encode_unixfs(message)), profile, out)


def _finish(node: Node, profile: Profile, out: list[Branch]) -> tuple[Cid, int]:
    block = profile.node(node)
    out.append(Branch(block, tuple(link.cid for link in node.links)))
    return block.cid, len(block.data) + sum(link.tsize or 0 for link in node.links)


def _link(name: str, entry: Entry) -> Link:
    return Link(entry.cid, name, entry.tsize)
