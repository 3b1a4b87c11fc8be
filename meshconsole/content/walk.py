"""Which blocks below a root are still missing. Pure.

The walk goes depth first, which keeps what it must remember small. It asks the shell what
is here already (`to_check`), to open the inner blocks that are (`to_open`), and to get the rest
(`to_want`); a walk that starts again after a restart finds what was fetched before and asks only for the
rest.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshconsole.content.formats.cid import CODECS, DAG_CBOR, DAG_PB, IDENTITY, RAW, Cid
from meshconsole.content.formats.dagcbor import cbor_links
from meshconsole.content.formats.dagpb import Link, decode_node
from meshconsole.core.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MAX_PENDING = 1 << 16
"""CIDs known and not yet looked at. A file of a known profile needs a few thousand; a tree built to
exhaust memory is refused here."""


@dataclass(slots=True)
class Walk:
    """`have_bytes` counts distinct blocks. `total_bytes` is what the root claims, None until it is here."""

    root: Cid
    have_bytes: int = 0
    total_bytes: int | None = None
    _stack: list[Cid] = field(init=False)
    _seen: set[bytes] = field(default_factory=set)
    _checking: dict[bytes, Cid] = field(default_factory=dict)
    _to_open: deque[Cid] = field(default_factory=deque)
    _opening: dict[bytes, Cid] = field(default_factory=dict)
    _missing: deque[Cid] = field(default_factory=deque)
    _wanted: dict[bytes, Cid] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._stack = [self.root]

    @property
    def is_done(self) -> bool:
        """Everything below the root is here."""
        return not (
            self._stack or self._checking or self._to_open or self._opening or self._missing or self._wanted
        )

    @property
    def wanted(self) -> int:
        """How many blocks are being waited for."""
        return len(self._wanted)

    def wanted_cid(self, multihash: bytes) -> Cid | None:
        """The CID under which a block is being waited for."""
        return self._wanted.get(multihash)

    def to_check(self, count: int) -> list[Cid]:
        """Up to `count` blocks to look up; answer with `checked`. None while enough are missing already."""
        cids: list[Cid] = []
        while self._stack and len(cids) < count and len(self._missing) < count:
            cid = self._stack.pop()
            _check_supported(cid)
            multihash = cid.multihash
            if multihash in self._seen:
                continue
            self._seen.add(multihash)
            if cid.hash_code == IDENTITY:
                self._take(cid, len(cid.digest), links_of(cid, cid.digest))
                continue
            self._checking[multihash] = cid
            cids.append(cid)
        return cids

    def checked(self, cids: Collection[Cid], sizes: Mapping[bytes, int]) -> None:
        """The sizes of those that are here."""
        for cid in cids:
            del self._checking[cid.multihash]
            size = sizes.get(cid.multihash)
            if size is None:
                self._missing.append(cid)
            elif cid.codec == RAW:
                self._count(cid, size)
            else:
                self._to_open.append(cid)

    def to_open(self) -> Cid | None:
        """An inner block that is here; answer with `arrived`, or `absent` if it is not after all."""
        if not self._to_open:
            return None
        cid = self._to_open.popleft()
        self._opening[cid.multihash] = cid
        return cid

    def to_want(self, count: int) -> list[Cid]:
        """Up to `count` missing blocks; each must end in `arrived`."""
        cids = [self._missing.popleft() for _ in range(min(count, len(self._missing)))]
        for cid in cids:
            self._wanted[cid.multihash] = cid
        return cids

    def arrived(self, multihash: bytes, size: int, links: tuple[Link, ...]) -> None:
        """A block that was wanted or opened: its hash has been checked, `links` are its `links_of`.

        Others are no concern of this walk. Raises RemoteError("bad-dag-pb") if the tree is too wide.
        """
        cid = self._wanted.pop(multihash, None) or self._opening.pop(multihash, None)
        if cid is not None:
            self._take(cid, size, links)

    def absent(self, multihash: bytes) -> None:
        """An inner block that was thought to be here is not."""
        cid = self._opening.pop(multihash, None)
        if cid is not None:
            self._missing.append(cid)

    def _take(self, cid: Cid, size: int, links: tuple[Link, ...]) -> None:
        if cid == self.root:
            self.total_bytes = size + sum(link.tsize or 0 for link in links)
        if cid.hash_code != IDENTITY:
            self._count(cid, size)
        if len(self._stack) + len(links) > MAX_PENDING:
            raise RemoteError("bad-dag-pb", f"The tree of blocks is over {MAX_PENDING} links wide.")
        self._stack.extend(link.cid for link in reversed(links))

    def _count(self, cid: Cid, size: int) -> None:
        self.have_bytes += size
        if cid == self.root and self.total_bytes is None:
            self.total_bytes = size
        if self.total_bytes is not None:
            self.total_bytes = max(self.total_bytes, self.have_bytes)


def links_of(cid: Cid, data: bytes) -> tuple[Link, ...]:
    """What a block links to. Takes milliseconds for a large one. Raises RemoteError if it is malformed."""
    if cid.codec == DAG_CBOR:
        return tuple(map(Link, cbor_links(data)))
    return decode_node(data).links if cid.codec == DAG_PB else ()


def _check_supported(cid: Cid) -> None:
    if cid.codec not in CODECS:
        raise RemoteError(
            "unsupported-codec", f"{cid} is in a format (0x{cid.codec:x}) that is not supported."
        )
    if not cid.prefix.is_supported:
        raise RemoteError(
            "unsupported-hash", f"{cid} uses a hash function (0x{cid.hash_code:x}) that is not supported."
        )
