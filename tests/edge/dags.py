"""Small trees of blocks, made by hand, and a store of blocks in memory."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshconsole.content.directory import Entry, build_directory
from meshconsole.content.formats.block import Block
from meshconsole.content.formats.car import CarReader
from meshconsole.content.formats.cid import DAG_CBOR, DAG_PB, RAW, Cid
from meshconsole.content.formats.dagpb import Link, Node, encode_node
from meshconsole.content.formats.unixfs import Kind, UnixFs, encode_unixfs
from meshconsole.content.happenings import FetchProgress
from meshconsole.content.layout import UNIXFS_V1_2025
from meshconsole.content.reader import inline
from meshconsole.core.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from meshconsole.content.happenings import FetchState


@dataclass
class Dag:
    blocks: dict[Cid, bytes] = field(default_factory=dict)

    def put(self, codec: int, data: bytes) -> Cid:
        block = Block.of(codec, data)
        self.blocks[block.cid] = data
        return block.cid

    def file(self, *chunks: bytes) -> Cid:
        """Of several blocks, below one."""
        leaves = [self.put(RAW, chunk) for chunk in chunks]
        links = tuple(Link(leaf, "", len(chunk)) for leaf, chunk in zip(leaves, chunks, strict=True))
        sizes = tuple(map(len, chunks))
        message = UnixFs(Kind.FILE, filesize=sum(sizes), blocksizes=sizes)
        return self.put(DAG_PB, encode_node(Node(links, encode_unixfs(message))))

    def folder(self, entries: Mapping[str, Cid]) -> Cid:
        links = [Entry(name, cid, 1) for name, cid in entries.items()]
        directory = build_directory(links, UNIXFS_V1_2025)
        for branch in directory.branches:
            self.blocks[branch.block.cid] = branch.block.data
        return directory.cid

    def cbor(self, names: Sequence[str], link: Cid) -> Cid:
        """Maps in maps, and the link inside."""
        data = b"\0" + link.encode()
        value = b"\xd8\x2a\x58" + bytes((len(data),)) + data
        for name in reversed(names):
            value = b"\xa1" + bytes((0x60 + len(name),)) + name.encode() + value
        return self.put(DAG_CBOR, value)

    def without(self, *cids: Cid) -> Dag:
        return Dag({cid: data for cid, data in self.blocks.items() if cid not in cids})


@dataclass
class MemoryBlocks:
    """Blocks as the gateway asks for them. What is in `afar` comes when it is fetched."""

    here: dict[bytes, bytes]
    afar: dict[bytes, bytes] = field(default_factory=dict)
    wanted: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    held: int = 0

    @classmethod
    def of(cls, dag: Dag, afar: Dag | None = None) -> MemoryBlocks:
        there = afar.blocks if afar is not None else {}
        return cls(
            {cid.multihash: data for cid, data in dag.blocks.items()},
            {cid.multihash: data for cid, data in there.items()},
        )

    async def block(self, cid: Cid) -> bytes | None:
        held = inline(cid)
        return self.here.get(cid.multihash) if held is None else held

    async def has_block(self, cid: Cid) -> bool:
        return inline(cid) is not None or cid.multihash in self.here

    async def is_of_keys(self, cid: Cid) -> bool:
        return False

    @contextmanager
    def holding(self, *cids: Cid) -> Iterator[None]:
        self.held += len(cids)
        try:
            yield
        finally:
            self.held -= len(cids)

    async def fetch(self, cid: str, *, deadline_s: float, passing: bool) -> AsyncIterator[FetchProgress]:
        self.wanted.append(cid)
        while self.afar:
            multihash, data = self.afar.popitem()
            self.here[multihash] = data
            yield FetchProgress(cid, len(data), None, "fetching")
        raise Unavailable(f"nothing came for {deadline_s} s")

    def job_state(self, cid: str) -> FetchState | None:
        return None

    async def end_passing(self, cid: str) -> None:
        self.ended.append(cid)


def car(data: bytes) -> tuple[tuple[Cid, ...], list[Cid]]:
    """Roots, and the CIDs of the blocks in their order; each is compared with its bytes."""
    reader = CarReader()
    found = list(reader.push(data))
    for cid, block in found:
        Block.checked(cid, block)
    return reader.finish(), [cid for cid, _ in found]
