"""What a path below a root leads to, from block to block. Pure.

Names lead through directories of UnixFS, whole or sharded, and through maps and lists of dag-cbor.
Sources: specs.ipfs.tech/http-gateways/path-gateway, specs.ipfs.tech/unixfs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from meshconsole.content.directory import HASH_BITS
from meshconsole.content.formats.cid import DAG_CBOR, DAG_PB, Cid
from meshconsole.content.formats.dagcbor import cbor_step
from meshconsole.content.formats.dagpb import Node, decode_node
from meshconsole.content.formats.murmur import murmur3_x64_64
from meshconsole.content.formats.unixfs import Kind, decode_unixfs
from meshconsole.content.listing import fanout_of
from meshconsole.core.errors import LocalError, RemoteError
from meshconsole.core.text import safe

MAX_NAMES = 256


@dataclass(slots=True)
class PathWalk:
    """Ask `wanted`, give that block to `feed`, until `wanted` is None; then `found` is where the path leads.

    `passed` are the CIDs of the blocks that were fed, in order; `roots` those at which a name ended, from
    the root to `found`. Every step uses up a name or bits of its hash, so it ends.
    """

    root: Cid
    names: tuple[str, ...]
    passed: list[Cid] = field(default_factory=list)
    roots: list[Cid] = field(init=False)
    _at: Cid = field(init=False)
    _next: int = 0
    _bits: int = 0
    """Of the hash of the next name, those that led to this shard."""

    def __post_init__(self) -> None:
        if len(self.names) > MAX_NAMES:
            raise RemoteError("bad-path", f"A path has at most {MAX_NAMES} names.")
        self._at = self.root
        self.roots = [self.root]

    @property
    def wanted(self) -> Cid | None:
        return self._at if self._next < len(self.names) else None

    @property
    def found(self) -> Cid:
        return self._at

    def feed(self, block: bytes) -> None:
        """Raises RemoteError("no-such-path") where the path leads nowhere, and others for a bad block."""
        if self.wanted is None:
            raise LocalError("The path has been walked to its end.")
        self.passed.append(self._at)
        if self._at.codec == DAG_PB:
            self._through_directory(decode_node(block))
        elif self._at.codec == DAG_CBOR:
            self._through_cbor(block)
        else:
            raise self._no_such_path()

    def _through_directory(self, node: Node) -> None:
        message = decode_unixfs(node.data or b"")
        name = self.names[self._next]
        if message.kind == Kind.DIRECTORY and not self._bits:
            found = next((link.cid for link in node.links if link.name == name), None)
        elif message.kind == Kind.HAMT_SHARD:
            width = fanout_of(message).bit_length() - 1
            bits = self._bits + width
            if bits > HASH_BITS:
                raise RemoteError("bad-directory", "Shards are nested deeper than names have hashes.")
            position = murmur3_x64_64(name.encode()) >> (HASH_BITS - bits) & ((1 << width) - 1)
            place = f"{position:0{len(f'{(1 << width) - 1:X}')}X}"
            links = {link.name: link.cid for link in node.links if (link.name or "").startswith(place)}
            found = links.get(place + name)
            if found is None and place in links:
                self._at, self._bits = links[place], bits
                return
        else:
            found = None
        if found is None:
            raise self._no_such_path()
        self._arrived(found, 1)

    def _through_cbor(self, block: bytes) -> None:
        found, used = cbor_step(block, self.names[self._next :])
        if found is None:
            raise self._no_such_path()
        self._arrived(found, used)

    def _arrived(self, cid: Cid, names: int) -> None:
        self._at, self._bits = cid, 0
        self._next += names
        self.roots.append(cid)

    def _no_such_path(self) -> RemoteError:
        name = safe(self.names[self._next], 80)
        return RemoteError("no-such-path", f'There is no "{name}" below {self.roots[-1]}.')
