"""The event store's contract: one interface, one conformance suite, any number of implementations.

Laws:
- What `write` accepts is durable when it returns; what it refuses left no trace.
- Deleted, superseded and expired events are never given out again, by any method.
- `seq` numbers what this store took in: it only grows, and is never used twice, not even after the
  event is gone. `feed` walks it and skips what is gone. Deletions themselves stay in the feed.
- Events come newest first; of two with the same time, the one with the lowest id first (NIP-01).
- Every method may be called from any thread and may block; none of them belongs on an event loop.
- A full disk or quota, or damaged pages, become Verdicts on write and errors of `core.errors` on
  read, in words; reading goes on as far as it can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from meshconsole.core.errors import Refused
from meshconsole.core.event import Event, encode_event

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from meshconsole.core.verdict import Verdict
    from meshconsole.relay.filter import Filter


class Entry(NamedTuple):
    """An event with a checked id and signature, and its canonical bytes, which are kept verbatim."""

    event: Event
    raw: bytes


class Written(NamedTuple):
    """`seq` is 0 unless the event was stored just now."""

    verdict: Verdict
    seq: int


class FeedRow(NamedTuple):
    seq: int
    id: str
    kind: int
    raw: bytes


class Selection(NamedTuple):
    """Which events match, as the store's own keys, for `fetch` in slices of any size.

    `head_seq` is the store's head at that moment: later events have a higher seq. `complete` is
    False when a limit may have cut something off.
    """

    keys: list[int]
    head_seq: int
    complete: bool


class StoreUsage(msgspec.Struct, frozen=True):
    """Bytes really taken on the disk, write-ahead log included, and events held."""

    bytes: int
    count: int


class Quota(Protocol):
    """Promised bytes. `reserve` comes before bytes are written, `release` when they were not."""

    def reserve(self, count: int, /) -> None:
        """Raises Refused("restricted", ...) when that much may not be written."""

    def release(self, count: int, /) -> None: ...


class NoQuota:
    """A quota that never refuses."""

    def reserve(self, count: int, /) -> None:
        if count < 0:
            raise Refused("invalid", "a negative number of bytes cannot be reserved")

    def release(self, count: int, /) -> None:
        return None


class EventStore(Protocol):
    log_id: str
    """Random, made with the database: tells this store's feed from every other."""

    @property
    def head_seq(self) -> int: ...

    def write(self, batch: Sequence[Entry]) -> list[Written]:
        """All of the batch in one durable commit, in order, one answer each."""

    def add(self, batch: Sequence[Entry | Event]) -> list[Verdict]: ...

    def known(self, ids: Collection[str]) -> set[str]:
        """Those of `ids` that are held."""

    def select(self, filters: Sequence[Filter], cap: int) -> Selection:
        """`cap` bounds each filter's limit."""

    def fetch(self, keys: Sequence[int]) -> list[bytes]:
        """In the order of `keys`; events that are gone by now are left out."""

    def query(self, filters: Sequence[Filter], limit: int) -> list[bytes]: ...

    def get(self, ids: Sequence[str]) -> list[bytes]: ...

    def feed(self, after_seq: int, limit: int) -> list[FeedRow]:
        """Rows with seq > after_seq, oldest first."""

    def count(self) -> int: ...

    def usage(self) -> StoreUsage: ...

    def purge_expired(self) -> int:
        """Frees what expired long ago; returns how many events."""

    def vacuum(self) -> None:
        """Gives free pages back to the disk."""

    def close(self) -> None: ...


def as_entry(item: Entry | Event) -> Entry:
    return Entry(item, encode_event(item)) if isinstance(item, Event) else item
