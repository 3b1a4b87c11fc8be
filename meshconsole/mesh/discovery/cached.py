"""Addresses that worked before: the rung that needs nothing but memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

PER_PEER = 4
PEERS = 256


class AddressStore(Protocol):
    """Where the node keeps them, by npub, the newest first. Both may block; `save` replaces everything."""

    def load(self) -> dict[str, list[str]]: ...

    def save(self, addresses: dict[str, list[str]], /) -> None: ...


class AddressBook(msgspec.Struct):
    """The newest PER_PEER addresses of the PEERS peers that were reached last. Pure."""

    is_dirty: bool = False
    _known: dict[str, list[str]] = msgspec.field(default_factory=dict)

    @classmethod
    def of(cls, known: Mapping[str, list[str]]) -> AddressBook:
        book = cls()
        for npub, addresses in list(known.items())[-PEERS:]:
            book._known[npub] = addresses[:PER_PEER]
        return book

    def worked(self, npub: str, address: str) -> None:
        older = self._known.pop(npub, [])
        newest = [address, *(known for known in older if known != address)][:PER_PEER]
        self._known[npub] = newest
        if len(self._known) > PEERS:
            del self._known[next(iter(self._known))]
        self.is_dirty = self.is_dirty or newest != older

    def forget(self, npub: str) -> None:
        """The device was removed from the team."""
        self.is_dirty = self._known.pop(npub, None) is not None or self.is_dirty

    def all(self) -> dict[str, list[str]]:
        return {npub: list(addresses) for npub, addresses in self._known.items()}
