"""How a file becomes blocks: chunks, then a balanced tree of links over them. Pure.

All leaves are at one depth, so a lone last child still gets its own parent on each level
("balanced", not "balanced-packed"). Two profiles are those of IPIP-499; equal bytes under one
profile give equal CIDs with every other writer of that profile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from meshconsole.content.formats.block import Block
from meshconsole.content.formats.cid import DAG_PB, RAW, SHA2_256, SHA2_512, Cid
from meshconsole.content.formats.dagpb import Link, Node, encode_node
from meshconsole.content.formats.unixfs import Kind, UnixFs, encode_unixfs
from meshconsole.core.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Profile(msgspec.Struct, frozen=True):
    """The choices that decide a file's CID."""

    name: str
    chunk_bytes: int
    max_links: int
    raw_leaves: bool
    cid_version: int
    hash_code: int = SHA2_256
    """Multihash function of version 1 CIDs."""
    shards_by_block_size: bool = True
    """Whether a directory is sharded by the size of its block, or (2015) of its names and CIDs."""

    def leaf(self, chunk: bytes) -> Leaf:
        """The leaf block of one chunk; hashes it."""
        if self.raw_leaves:
            block = Block.of(RAW, chunk, self.hash_code)
        else:
            message = UnixFs(Kind.FILE, data=chunk or None, filesize=len(chunk))
            block = self.node(Node(data=encode_unixfs(message)))
        return Leaf(block, len(chunk))

    def node(self, node: Node) -> Block:
        encoded = encode_node(node)
        return Block.of(DAG_PB, encoded, self.hash_code) if self.cid_version else Block.v0(encoded)


UNIXFS_V1_2025 = Profile("unixfs-v1-2025", 1 << 20, 1024, raw_leaves=True, cid_version=1)
UNIXFS_V1_SHA512 = replace(UNIXFS_V1_2025, name="unixfs-v1-sha512", hash_code=SHA2_512)
"""The layout of 2025 under the hash of suite MC2; not one of IPIP-499."""
UNIXFS_V0_2015 = Profile(
    "unixfs-v0-2015", 256 << 10, 174, raw_leaves=False, cid_version=0, shards_by_block_size=False
)
PROFILES = {profile.name: profile for profile in (UNIXFS_V1_2025, UNIXFS_V1_SHA512, UNIXFS_V0_2015)}


class Leaf(msgspec.Struct, frozen=True):
    """A leaf block and how many bytes of the file it holds."""

    block: Block
    size: int


class Branch(msgspec.Struct, frozen=True):
    """An inner block and what it links to."""

    block: Block
    children: tuple[Cid, ...]


class _Child(msgspec.Struct, frozen=True):
    cid: Cid
    size: int
    tsize: int


class Tree(msgspec.Struct):
    """Grows from the left, one leaf at a time; keeps only links, at most `max_links` per level.

    After each `push`, call `fold` (it encodes and hashes, so off the event loop) while `is_full`.
    `finish` gives the root. Blocks come out children first.
    """

    profile: Profile
    size: int = 0
    _levels: list[list[_Child]] = msgspec.field(default_factory=lambda: [[]])

    def push(self, cid: Cid, size: int, block_bytes: int) -> None:
        """Appends the leaf `cid`, which holds `size` bytes of the file in `block_bytes` of block."""
        if self.is_full:
            raise LocalError("A full tree must be folded before it grows.")
        self.size += size
        self._levels[0].append(_Child(cid, size, block_bytes))

    @property
    def is_full(self) -> bool:
        return len(self._levels[0]) >= self.profile.max_links

    def fold(self) -> list[Branch]:
        """Replaces each full level by one link on the level above."""
        branches: list[Branch] = []
        level = 0
        while level < len(self._levels) and len(self._levels[level]) >= self.profile.max_links:
            branches.append(self._fold(level))
            level += 1
        return branches

    def finish(self) -> tuple[Cid, list[Branch]]:
        """The root and the last inner blocks. Raises LocalError if no leaf was pushed."""
        branches: list[Branch] = []
        level = 0
        while not self._is_root(level):
            if self._levels[level]:
                branches.append(self._fold(level))
            elif level == len(self._levels) - 1:
                raise LocalError("A file has at least one leaf, an empty one if it is empty.")
            level += 1
        return self._levels[level][0].cid, branches

    def _is_root(self, level: int) -> bool:
        return len(self._levels[level]) == 1 and not any(self._levels[level + 1 :])

    def _fold(self, level: int) -> Branch:
        children = self._levels[level]
        message = UnixFs(
            Kind.FILE,
            filesize=sum(child.size for child in children),
            blocksizes=tuple(child.size for child in children),
        )
        links = tuple(Link(child.cid, "", child.tsize) for child in children)
        block = self.profile.node(Node(links, encode_unixfs(message)))
        if level + 1 == len(self._levels):
            self._levels.append([])
        tsize = len(block.data) + sum(child.tsize for child in children)
        self._levels[level + 1].append(_Child(block.cid, message.filesize or 0, tsize))
        children.clear()
        return Branch(block, tuple(link.cid for link in links))


def chunked(pieces: Iterable[bytes], chunk_bytes: int) -> Iterator[bytes]:
    """The same bytes in pieces of `chunk_bytes`, the last one shorter; one empty piece if there are none."""
    chunker = Chunker(chunk_bytes)
    for piece in pieces:
        yield from chunker.push(piece)
    yield from chunker.finish()


class Chunker(msgspec.Struct):
    """Cuts a stream into chunks of exactly `chunk_bytes`. Holds less than one chunk between calls."""

    chunk_bytes: int
    _parts: list[bytes | memoryview] = msgspec.field(default_factory=list)
    _held: int = 0
    _cut: bool = False

    def push(self, piece: bytes) -> Iterator[bytes]:
        if not self._held and len(piece) == self.chunk_bytes:
            self._cut = True
            yield bytes(piece)
            return
        view = memoryview(piece)
        while len(view) >= self.chunk_bytes - self._held:
            room = self.chunk_bytes - self._held
            chunk = b"".join((*self._parts, view[:room]))
            view = view[room:]
            self._parts.clear()
            self._held = 0
            self._cut = True
            yield chunk
        if view:
            # A copy: a view would keep the whole piece alive, and a caller may reuse its buffer.
            self._parts.append(bytes(view))
            self._held += len(view)

    def finish(self) -> Iterator[bytes]:
        if self._held or not self._cut:
            self._cut = True
            yield b"".join(self._parts)
            self._parts.clear()
            self._held = 0


def build(pieces: Iterable[bytes], profile: Profile = UNIXFS_V1_2025) -> Iterator[Block]:
    """All blocks of a file, children first and the root last."""
    tree = Tree(profile)
    for chunk in chunked(pieces, profile.chunk_bytes):
        leaf = profile.leaf(chunk)
        yield leaf.block
        tree.push(leaf.block.cid, leaf.size, len(leaf.block.data))
        if tree.is_full:
            yield from (branch.block for branch in tree.fold())
    _, branches = tree.finish()
    yield from (branch.block for branch in branches)
