"""Addresses that worked before: the rung that needs nothing but memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

PER_PEER = 4
IN_ALL = 256


class KnownAddress(msgspec.Struct, frozen=True):
    """`worked_at` is in seconds since the epoch, by this node's clock."""

    npub: str
    address: str
    worked_at: float


class AddressStore(Protocol):
    """Where the node keeps them. Both may block; `save` replaces everything."""

    def load(self) -> tuple[KnownAddress, ...]: ...

    def save(self, addresses: tuple[KnownAddress, ...], /) -> None: ...


@dataclass(slots=True)
class AddressBook:
    """The newest PER_PEER addresses of each peer. Pure."""

    is_dirty: bool = False
    _known: dict[tuple[str, str], KnownAddress] = field(default_factory=dict)

    @classmethod
    def of(cls, addresses: Iterable[KnownAddress]) -> AddressBook:
        book = cls()
        for known in addresses:
            book._known[known.npub, known.address] = known
        return book

    def worked(self, npub: str, address: str, now: float) -> None:
        self._known[npub, address] = KnownAddress(npub, address, now)
        self._trim(npub)
        self.is_dirty = True

    def forget(self, npub: str) -> None:
        """The device was removed from the team."""
        gone = [key for key in self._known if key[0] == npub]
        for key in gone:
            del self._known[key]
        self.is_dirty = self.is_dirty or bool(gone)

    def all(self) -> tuple[KnownAddress, ...]:
        """The newest first."""
        return tuple(sorted(self._known.values(), key=lambda known: -known.worked_at))

    def _trim(self, npub: str) -> None:
        newest = self.all()
        mine = [known for known in newest if known.npub == npub]
        for known in (*mine[PER_PEER:], *newest[IN_ALL:]):
            self._known.pop((known.npub, known.address), None)
