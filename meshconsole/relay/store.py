"""The event store's contract: one interface, one conformance suite, any number of implementations.

Laws:
- What `write` accepts is durable when it returns; what it refuses left no trace.
- Deleted, superseded, expired and vanished events are never given out again, by any method, and
  their ids stay settled for as long as the store can remember them.
- `seq` numbers what this store took in: it only grows, and is never used twice, not even after the
  event is gone. `feed` walks it and skips what is gone. Deletions themselves stay in the feed.
- Events come newest first; of two with the same time, the one with the lowest id first (NIP-01).
  Where a filter has a search, those that fit it best come first (NIP-50).
- What makes a team (CONTROL_KINDS) is removed by nothing but a newer version of itself; checkpoints
  also by `retire`.
- Every method may be called from any thread and may block; none of them belongs on an event loop.
- A full disk or quota, or damaged pages, become Verdicts on write and errors of `core.errors` on
  read, in words; reading goes on as far as it can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import msgspec

from meshconsole.core.errors import Refused
from meshconsole.core.event import Event, encode_event
from meshconsole.core.kinds import CHECKPOINT
from meshconsole.relay.filter import Filter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from meshconsole.core.verdict import Verdict
    from meshconsole.relay.memory import Caches


class Entry(NamedTuple):
    """An event with a checked id and signature, and its canonical bytes, which are kept verbatim.

    `vanish`: a kind 62 that names this relay. Everything of its author up to its time goes (NIP-62).
    """

    event: Event
    raw: bytes
    vanish: bool = False


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

    `head_seq` is the store's head at that moment: later events have a higher seq. `complete` is True
    when nothing that matches is missing, False when something is, None when that is not known (NIP-67).
    """

    keys: list[int]
    head_seq: int
    complete: bool | None


class Answer(NamedTuple):
    """A Selection of which the first events are there already; `rest` are the keys of the others."""

    raws: list[bytes]
    rest: list[int]
    head_seq: int
    complete: bool | None


class Tally(msgspec.Struct, frozen=True):
    """How many events match. `complete` is False when counting was broken off: there are more."""

    count: int
    complete: bool


class Item(NamedTuple):
    """What reconciliation knows an event by (NIP-77). `id` has 32 bytes."""

    created_at: int
    id: bytes


class Removed(msgspec.Struct, frozen=True):
    """`bytes` are those of the events themselves; on the disk their index entries go with them."""

    count: int
    bytes: int


class Page(NamedTuple):
    """A part of a walk. `after` is where it goes on, None at the end."""

    raws: list[bytes]
    after: int | None


class EvictionClass(msgspec.Struct, frozen=True):
    """Events that may make room for others: those that match `wanted`, but by no author in `spared`."""

    name: str
    wanted: Filter
    spared: frozenset[str] = frozenset()


class StoreUsage(msgspec.Struct, frozen=True):
    """Bytes really taken on the disk, write-ahead log included, and events held."""

    bytes: int
    count: int


class Quota(Protocol):
    """Promised bytes. `reserve` comes before bytes are written, `release` when they were not."""

    def reserve(self, count: int, /) -> None:
        """Raises Refused("restricted", ...) when that much may not be written."""

    def release(self, count: int, /) -> None: ...


@runtime_checkable
class MeasuredQuota(Quota, Protocol):
    """A quota that knows what is used by measurements, and counts what was promised since on top."""

    def measured(self, used_bytes: int, /, *, exact: bool) -> None:
        """`exact`: nothing is promised now that has not been written."""

    def excess_bytes(self) -> int:
        """What is used beyond the limit, by whomever."""

    def ran_out(self, sentence: str, /) -> None:
        """A write was refused for want of room, and nothing could make any."""


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

    description: str
    """Where events are kept, for people."""

    @property
    def head_seq(self) -> int: ...

    def write(self, batch: Sequence[Entry]) -> list[Written]:
        """All of the batch in order, one answer each: in one durable commit, or in several where room is
        scarce."""

    def add(self, batch: Sequence[Entry | Event]) -> list[Verdict]: ...

    def known(self, ids: Collection[str]) -> set[str]:
        """Those of `ids` that are held."""

    def settled(self, ids: Collection[str]) -> set[str]:
        """Those of `ids` that are held, or that were refused or removed for good: not to be fetched."""

    def select(self, filters: Sequence[Filter], cap: int) -> Selection:
        """`cap` bounds each filter's limit."""

    def fetch(self, keys: Sequence[int]) -> list[bytes]:
        """In the order of `keys`; events that are gone by now are left out."""

    def answer(self, filters: Sequence[Filter], cap: int, size: int) -> Answer:
        """`select`, and `fetch` of the first events, about `size` bytes of them."""

    def query(self, filters: Sequence[Filter], limit: int) -> list[bytes]: ...

    def get(self, ids: Sequence[str]) -> list[bytes]: ...

    def tally(self, filters: Sequence[Filter], cap: int) -> Tally:
        """Events that match any of the filters, each counted once, whatever the filters' limits.
        Counting stops at `cap`, or when it takes too long."""

    def registers(self, wanted: Filter, offset: int) -> bytes:
        """NIP-45's 256 registers over the authors of all that matches, whatever its limit."""

    def items(self, wanted: Filter, cap: int) -> list[Item]:
        """All that matches, whatever its limit, oldest first and by id. Raises Refused("blocked")
        when there are more than `cap`."""

    def scan(self, filters: Sequence[Filter], after: int | None, count: int) -> Page:
        """The next `count` of all events that match, oldest first, each once, whatever the filters'
        limits. `after` comes from the page before, None to begin; it outlives the process. Events
        that arrive meanwhile are on the walk if they are newer than where it is."""

    def delete(self, filters: Sequence[Filter], *, dry_run: bool, limit: int = 1000) -> Removed:
        """Removes the oldest `limit` of what matches, whatever the filters' limits; to be called until
        it removed none. `dry_run` removes nothing and tells what all the calls together would remove.
        """

    def retire(self, ids: Collection[str]) -> Removed:
        """Removes those of `ids` that are checkpoints: their authors' later ones made them needless."""

    def evict(
        self, classes: Sequence[EvictionClass], need_bytes: int, *, dry_run: bool
    ) -> list[tuple[str, Removed]]:
        """Removes the oldest of the first class, then of the next, until `need_bytes` of events are
        gone, and tells how many of which class. One call removes a bounded number."""

    def feed(self, after_seq: int, limit: int) -> list[FeedRow]:
        """Rows with seq > after_seq, oldest first."""

    def count(self) -> int: ...

    def usage(self) -> StoreUsage: ...

    def purge_expired(self) -> int:
        """Frees what expired long ago; returns how many events."""

    def vacuum(self) -> None:
        """Gives free pages back to the disk, all at once. Nothing can be written meanwhile."""

    def vacuum_step(self, max_pages: int) -> int:
        """Gives at most so many free pages back to the disk. Returns how many; 0 when none is left."""

    def backup(self, destination: Path, progress: Callable[[int, int], None] | None = None) -> None:
        """A copy that opens with the same key, made while the store is in use. `progress` hears of
        pages done and pages in all. Nothing is at `destination` unless the copy is whole."""

    def close(self) -> None: ...


def checkpoints(ids: Collection[str]) -> list[Filter]:
    """What `retire` may remove."""
    return [Filter(ids=frozenset(ids), kinds=frozenset({CHECKPOINT}))]


@runtime_checkable
class PromptStore(Protocol):
    """A store that has most answers at hand."""

    def answer_now(self, filters: Sequence[Filter], cap: int, size: int) -> Answer | None:
        """As `EventStore.answer`, for the event loop itself: within a millisecond or two, or None. Then
        the question is to be asked in a thread."""


@runtime_checkable
class PromptWriter(Protocol):
    """A store that commits a few events in less than a millisecond, where the disk lets it."""

    def write_now(self, batch: Sequence[Entry]) -> list[Written] | None:
        """As `EventStore.write`, as durably, for the event loop itself; or None: then the batch is to be
        written in a thread, because that would take longer or wait for somebody."""


@runtime_checkable
class EmbeddedStore(Protocol):
    """A store that takes memory of this process, and disk of the home."""

    def shrink(self) -> bool:
        """A small step towards a quota that became less than what is taken, by giving free pages back and
        letting go of what may go. False when there is nothing to do."""

    def set_caches(self, caches: Caches) -> None:
        """Their sizes from now on. In a thread."""

    def limit_log(self, log_bytes: int) -> None:
        """What its log may take beside its data, from now on."""


def within_limits(found: Sequence[list[int]], limits: Sequence[int]) -> tuple[list[list[int]], bool | None]:
    """What each filter may give of what it found, which was sought to one beyond its limit, and whether
    that is all. What one filter leaves out may still come by another one."""
    given = [keys[:limit] for keys, limit in zip(found, limits, strict=True)]
    beyond = [keys[limit] for keys, limit in zip(found, limits, strict=True) if len(keys) > limit]
    if not beyond:
        return given, True
    everything = set().union(*given)
    return given, None if everything.issuperset(beyond) else False


def as_entry(item: Entry | Event) -> Entry:
    return Entry(item, encode_event(item)) if isinstance(item, Event) else item


FIRST_KEYS = 32
"""So many events are read before their size is known."""

MORE_KEYS = 256
"""So many are read at once when it is."""


def first_page(
    fetch: Callable[[Sequence[int]], list[bytes]], keys: Sequence[int], size: int
) -> tuple[list[bytes], int]:
    """About `size` bytes of events, and how many of the keys that took. A rest that is small beside it
    comes along: another page would cost more than its memory."""
    raws: list[bytes] = []
    held = taken = 0
    count = FIRST_KEYS
    while taken < len(keys):
        more = fetch(keys[taken : taken + count])
        taken += min(count, len(keys) - taken)
        raws += more
        held += sum(map(len, more))
        average = held // max(1, len(raws)) or 1
        fits = held + (len(keys) - taken) * average <= size + size // 4
        room = (size + size // 4 if fits else size) - held
        if room <= 0:
            break
        count = min(MORE_KEYS, 1 + room // average)
    return raws, taken


def answered(selection: Selection, fetch: Callable[[Sequence[int]], list[bytes]], size: int) -> Answer:
    raws, taken = first_page(fetch, selection.keys, size)
    return Answer(raws, selection.keys[taken:], selection.head_seq, selection.complete)
