"""Reading a file back from its blocks, in order and one at a time. Pure.

Sizes are claims of whoever wrote the blocks: every claim is compared with what is really found, and
a tree that could make a reader work without giving it bytes is refused. Source: specs.ipfs.tech/unixfs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from meshconsole.content.formats.cid import DAG_PB, IDENTITY, RAW, Cid
from meshconsole.content.formats.dagpb import decode_node
from meshconsole.content.formats.unixfs import Kind, decode_unixfs
from meshconsole.core.errors import LocalError, RemoteError

MAX_DEPTH = 32
"""2015's 174 links per level reach 2^64 bytes at depth 9."""

_WORDS = {
    Kind.DIRECTORY: "a directory",
    Kind.HAMT_SHARD: "a directory",
    Kind.SYMLINK: "a symbolic link",
    Kind.METADATA: "metadata",
}


class _Expected(msgspec.Struct, frozen=True):
    """`start` is where its bytes are in the file."""

    cid: Cid
    size: int | None
    depth: int
    start: int = 0


@dataclass(slots=True)
class FileReader:
    """Ask `wanted`, give that block to `feed`, take the bytes, until `wanted` is None. Of a part, from byte
    `first` to byte `last`, only the blocks that hold it are wanted."""

    root: Cid
    first: int = 0
    last: int | None = None
    size: int | None = None
    """Bytes of the whole file, once the root has been fed."""

    _stack: list[_Expected] = field(init=False)

    def __post_init__(self) -> None:
        self._stack = [_Expected(self.root, None, 0)]

    @property
    def wanted(self) -> Cid | None:
        return self._stack[-1].cid if self._stack else None

    def ahead(self, count: int) -> list[Cid]:
        """Up to `count` blocks that will be wanted after this one, as far as is known."""
        return [expected.cid for expected in self._stack[-2 : -2 - count : -1]]

    def feed(self, block: bytes) -> bytes:
        """The bytes of the file that come from `block`, which must match the CID that was `wanted`.

        Raises RemoteError("bad-unixfs" | "bad-dag-pb" | ... | "not-a-file" | "unsupported-codec").
        """
        if not self._stack:
            raise LocalError("The file has been read to its end.")
        expected = self._stack.pop()
        children: list[_Expected] = []
        if expected.cid.codec == RAW:
            content, total = block, len(block)
        elif expected.cid.codec == DAG_PB:
            content, total, children = _open(block, expected.depth + 1, expected.start)
        else:
            raise RemoteError("unsupported-codec", f"{expected.cid} is not a file of UnixFS.")
        if expected.size is not None and total != expected.size:
            raise RemoteError("bad-unixfs", f"{expected.cid} holds {total} bytes, not {expected.size}.")
        if self.size is None:
            self.size = total
        self._stack.extend(child for child in reversed(children) if self._reaches(child))
        return self._within(content, expected.start)

    def _reaches(self, child: _Expected) -> bool:
        end = child.start + (child.size or 0)
        return end > self.first and (self.last is None or child.start <= self.last)

    def _within(self, content: bytes, start: int) -> bytes:
        if self.first <= start and (self.last is None or start + len(content) <= self.last + 1):
            return content
        end = len(content) if self.last is None else max(0, self.last + 1 - start)
        return content[max(0, self.first - start) : end]


def inline(cid: Cid) -> bytes | None:
    """The block of an identity CID, which is in the CID itself."""
    return cid.digest if cid.hash_code == IDENTITY else None


def _open(block: bytes, depth: int, start: int) -> tuple[bytes, int, list[_Expected]]:
    node = decode_node(block)
    if node.data is None:
        raise RemoteError("bad-unixfs", "A block of the file says nothing about its content.")
    message = decode_unixfs(node.data)
    if message.kind not in (Kind.FILE, Kind.RAW):
        raise RemoteError("not-a-file", f"This CID names {_WORDS[message.kind]}, not a file.")
    content = message.data or b""
    if len(message.blocksizes) != len(node.links):
        raise RemoteError("bad-unixfs", "A block of the file has other sizes than links.")
    if 0 in message.blocksizes:
        # Empty children could nest into endless work that yields nothing.
        raise RemoteError("bad-unixfs", "A block of the file links to an empty part.")
    if node.links and depth > MAX_DEPTH:
        raise RemoteError("bad-unixfs", f"The blocks of the file are nested over {MAX_DEPTH} levels deep.")
    total = len(content) + sum(message.blocksizes)
    if message.filesize is not None and message.filesize != total:
        raise RemoteError(
            "bad-unixfs", f"A block of the file claims {message.filesize} bytes and has {total}."
        )
    children: list[_Expected] = []
    start += len(content)
    for link, size in zip(node.links, message.blocksizes, strict=True):
        children.append(_Expected(link.cid, size, depth, start))
        start += size
    return content, total, children
