"""The store's integer keys. Pure.

A row key is `created_at << 29 | inverted first 29 bits of the id`: rows lie on the disk by time, and
walking the keys downwards gives NIP-01's order (newest first, lowest id first) without sorting. Two
events of one second that share 29 bits of their ids take neighbouring keys.

Tag values, addresses and deletions are kept as keyed 64-bit hashes: short, and nobody without the
key can make two of them collide.
"""

from __future__ import annotations

from hashlib import blake2b
from struct import Struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshconsole.core.event import Event

ID_BITS = 29
_ID_MASK = (1 << ID_BITS) - 1

MAX_KEY = (1 << 63) - 1

SHORT_ID = Struct(">q")
"""The first 8 bytes of an id, as `short_id` numbers them."""
_PARTS = Struct(">q24s")


def row_key(event: Event) -> int:
    return event.created_at << ID_BITS | (~(int(event.id[:8], 16) >> 3) & _ID_MASK)


def created_at_of(key: int) -> int:
    return key >> ID_BITS


def neighbours(key: int, *, upwards: bool) -> Iterator[int]:
    """Other keys of the same second, nearest first: one way to its end, then the other way."""
    low = key & ~_ID_MASK
    above, below = range(key + 1, low + _ID_MASK + 1), range(key - 1, low - 1, -1)
    yield from above if upwards else below
    yield from below if upwards else above


def key_range(since: int | None, until: int | None) -> tuple[int, int]:
    """Lowest and highest key of the times from `since` to `until`, both included."""
    low = 0 if since is None else min(max(since, 0) << ID_BITS, MAX_KEY)
    high = MAX_KEY if until is None else max(min(((until + 1) << ID_BITS) - 1, MAX_KEY), -1)
    return low, high


def short_id(event_id: str) -> int:
    """The first 8 bytes of an id as SQLite's signed integer. Not unique: compare the whole id too."""
    return int(SHORT_ID.unpack(bytes.fromhex(event_id[:16]))[0])


def parts_of_id(event_id: str) -> tuple[int, bytes]:
    """`short_id`, and the other 24 bytes."""
    return _PARTS.unpack(bytes.fromhex(event_id))


def id_bytes(short: int, rest: bytes) -> bytes:
    """The id of these parts."""
    return SHORT_ID.pack(short) + rest


class KeyedHash:
    """Signed 64-bit hashes under a secret of this store."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def tag(self, letter: str, value: str) -> int:
        return self._hash(letter.encode(), value)

    def address(self, address: str) -> int:
        return self._hash(b"address", address)

    def deleted_id(self, author: str, event_id: str) -> int:
        return self._hash(b"deleted id", author + event_id)

    def deleted_address(self, address: str) -> int:
        return self._hash(b"deleted addr", address)

    def vanished(self, pubkey: str) -> int:
        return self._hash(b"vanished", pubkey)

    def _hash(self, person: bytes, value: str) -> int:
        digest = blake2b(value.encode(), digest_size=8, key=self._secret, person=person).digest()
        return int(SHORT_ID.unpack(digest)[0])
