"""Which blocks below a CID belong to an answer: one, those of a file or a listing, or all. Pure.

Depth first, in the order of the links, so that whoever receives them can check each as it comes. Source:
specs.ipfs.tech/http-gateways/trustless-gateway, `dag-scope` and `entity-bytes`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import msgspec

from meshconsole.content.formats.cid import DAG_PB, RAW, Cid
from meshconsole.content.formats.dagpb import decode_node
from meshconsole.content.formats.unixfs import Kind, decode_unixfs
from meshconsole.content.reader import MAX_DEPTH
from meshconsole.content.walk import MAX_PENDING, links_of
from meshconsole.core.errors import LocalError, RemoteError

Scope = Literal["block", "entity", "all"]

MAX_BLOCKS = 1 << 20
"""In one answer. Where blocks may repeat, a small tree can be walked for longer than the world will last."""


class Bytes(msgspec.Struct, frozen=True):
    """From the first to the last byte of a file, both included. Negative ones count from its end; `last` None
    is its end."""

    first: int = 0
    last: int | None = None

    def within(self, size: int) -> tuple[int, int]:
        """As places in a file of so many bytes; none if the first is behind the last."""
        first = max(0, size + self.first) if self.first < 0 else self.first
        if self.last is None:
            return first, size - 1
        return first, min(size - 1, size + self.last if self.last < 0 else self.last)


WHOLE = Bytes()


class _Expected(msgspec.Struct, frozen=True):
    """`start` is where its bytes are in the file, and `depth` how far below the root, for parts of a file."""

    cid: Cid
    start: int = 0
    depth: int = 0


@dataclass(slots=True)
class ScopeWalk:
    """Ask `wanted`, give that block to `feed`, until `wanted` is None.

    Without `dups`, what was wanted before is not wanted again. `size` is that of the file, once its first
    block was fed and if it is one.
    """

    root: Cid
    scope: Scope = "all"
    part: Bytes = WHOLE
    dups: bool = False
    seen: set[bytes] = field(default_factory=set)
    size: int | None = None
    _range: tuple[int, int] | None = None
    _fed: int = 0
    _stack: list[_Expected] = field(init=False)

    def __post_init__(self) -> None:
        self._stack = [_Expected(self.root)]

    @property
    def wanted(self) -> Cid | None:
        if not self.dups:
            while self._stack and self._stack[-1].cid.multihash in self.seen:
                self._stack.pop()
        return self._stack[-1].cid if self._stack else None

    def feed(self, block: bytes) -> None:
        """Raises RemoteError for a bad block and for a tree that is too much."""
        if not self._stack:
            raise LocalError("Everything has been fed.")
        expected = self._stack.pop()
        self.seen.add(expected.cid.multihash)
        self._fed += 1
        if self._fed > MAX_BLOCKS:
            raise RemoteError("oversize", f"There are more than {MAX_BLOCKS} blocks in this answer.")
        below = self._below(expected, block)
        if len(self._stack) + len(below) > MAX_PENDING:
            raise RemoteError("bad-dag-pb", f"The tree of blocks is over {MAX_PENDING} links wide.")
        self._stack.extend(reversed(below))

    def _below(self, expected: _Expected, block: bytes) -> list[_Expected]:
        if self.scope == "all":
            return [_Expected(link.cid) for link in links_of(expected.cid, block)]
        if expected.cid.codec == RAW and self.size is None:
            self.size = len(block)
        if self.scope == "block" or expected.cid.codec != DAG_PB:
            return []
        return self._of_entity(expected, block)

    def _of_entity(self, expected: _Expected, block: bytes) -> list[_Expected]:
        node = decode_node(block)
        try:
            message = decode_unixfs(node.data or b"")
        except RemoteError:
            return []  # not UnixFS: an entity is then its one block
        if message.kind == Kind.HAMT_SHARD:
            digits = len(f"{max((message.fanout or 1) - 1, 0):X}")
            return [_Expected(link.cid) for link in node.links if len(link.name or "") == digits]
        if message.kind not in (Kind.FILE, Kind.RAW):
            return []
        if len(message.blocksizes) != len(node.links):
            raise RemoteError("bad-unixfs", "A block of the file has other sizes than links.")
        if node.links and expected.depth >= MAX_DEPTH:
            raise RemoteError("bad-unixfs", f"The file is nested over {MAX_DEPTH} levels deep.")
        here = len(message.data or b"")
        if self._range is None:
            self.size = here + sum(message.blocksizes)
            self._range = self.part.within(self.size)
        first, last = self._range
        parts: list[_Expected] = []
        start = expected.start + here
        for link, size in zip(node.links, message.blocksizes, strict=True):
            if first <= last and start <= last and first < start + size:
                parts.append(_Expected(link.cid, start, expected.depth + 1))
            start += size
        return parts
