"""What is asked of the embedded event store: all that only reads it."""

from __future__ import annotations

import contextlib
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from msgspec.structs import replace

from meshconsole.core.errors import MeshconsoleError, Unavailable
from meshconsole.core.kinds import CONTROL_KINDS
from meshconsole.crypto.database import DatabaseErrors, is_interrupt, translate
from meshconsole.relay import sweeping
from meshconsole.relay.filter import Filter
from meshconsole.relay.hot import HotEvents
from meshconsole.relay.keys import MAX_KEY
from meshconsole.relay.known import known_ids, settled_ids
from meshconsole.relay.readers import PromptReader, Readers
from meshconsole.relay.reading import Reading, bodies, is_stretch, stretch
from meshconsole.relay.store import (
    Answer,
    EvictionClass,
    FeedRow,
    Item,
    Page,
    Selection,
    Tally,
    answered,
    within_limits,
)
from meshconsole.relay.sweeping import sized
from meshconsole.relay.walks import Memory, Span, beyond

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence, Set
    from pathlib import Path

    from meshconsole.relay.authors import Authors
    from meshconsole.relay.dbapi import Connection
    from meshconsole.relay.keys import KeyedHash
    from meshconsole.relay.memory import Caches
    from meshconsole.relay.newest import Newest

PROMPT_BUDGET_S = 0.002
"""So long the event loop may wait for an answer; what takes longer is left to a thread."""

QUERY_BUDGET_S = 2.0
"""A query that takes longer is broken off: it would keep others from theirs."""

STRETCH_KIB = 256
"""Pages of the reader for all there is in a time."""

UPWARDS = Span(0, MAX_KEY, upwards=True)

PIECE = 2000
"""So many rows are looked at in one read transaction by what walks over everything."""

STEP = 500
"""So many events are removed or indexed in one write transaction by what does so with many."""

FEED_BYTES = 4 << 20
"""A page of the feed ends when it holds this much."""


class Questions:
    """`open_` gives a connection with so many KiB for pages. `settle` waits until the tables hold all that
    was acknowledged; `settle_now` says whether they do, and waits for nobody; `ahead` are the ids of those
    that they do not hold yet. `catch_up` makes searchable
    what filters look for, as far as there is time for it; `is_expiring` says whether any event may have
    expired by then."""

    def __init__(
        self,
        path: Path,
        hashes: KeyedHash,
        authors: Authors,
        caches: Caches,
        newest: Newest,
        *,
        open_: Callable[[int], Connection],
        settle: Callable[[], object],
        settle_now: Callable[[], bool],
        ahead: Callable[[], Set[str]],
        catch_up: Callable[[Sequence[Filter]], bool],
        is_expiring: Callable[[int], bool],
        now: Callable[[], int],
    ) -> None:
        self._path = path
        self._hashes = hashes
        self._authors = authors
        self._caches = caches
        self._settle = settle
        self._settle_now = settle_now
        self._ahead = ahead
        self._catch_up = catch_up
        self._is_expiring = is_expiring
        self._now = now
        self.readers = Readers(lambda: open_(self._caches.reader_kib))
        self._prompt = PromptReader(lambda: open_(self._caches.prompt_kib))
        # What lies together on many pages would only drive those of others out.
        self._stretches = PromptReader(lambda: open_(STRETCH_KIB))
        self.hot = HotEvents(caches.hot_kib << 10)
        self.newest = newest

    def set_caches(self, caches: Caches) -> None:
        self._caches = caches
        self.hot.resize(caches.hot_kib << 10)
        self._prompt.renew()
        self._stretches.renew()
        self.readers.renew()

    def close(self) -> None:
        self.readers.close()
        self._prompt.close()
        self._stretches.close()

    def known(self, ids: Collection[str]) -> set[str]:
        found = self._those_ahead(ids)
        asked = list(ids)
        for start in range(0, len(asked), PIECE):
            with self.reading(settled=False) as connection:
                found |= known_ids(connection, asked[start : start + PIECE])
        return found

    def settled(self, ids: Collection[str]) -> set[str]:
        found = self._those_ahead(ids)
        with self.reading(settled=False) as connection:
            return found | settled_ids(connection, ids)

    def select(self, filters: Sequence[Filter], cap: int) -> Selection:
        caught_up = self._catch_up(filters)
        with self.reading() as connection:
            head = stored_head(connection)
            return self._select(self.reader(connection), head, filters, cap, caught_up=caught_up)

    def answer(self, filters: Sequence[Filter], cap: int, size: int) -> Answer:
        caught_up = self._catch_up(filters)
        with self.reading() as connection:
            head = stored_head(connection)
            reading = self.reader(connection)
            selection = self._select(reading, head, filters, cap, caught_up=caught_up)
            read = partial(stretch if all(map(is_stretch, filters)) else bodies, connection)
            return answered(selection, partial(_seen_or, reading.seen, read) if reading.seen else read, size)

    def answer_now(self, filters: Sequence[Filter], cap: int, size: int) -> Answer | None:
        if any(wanted.search for wanted in filters) or not self._settle_now():
            return None
        only_stretch = len(filters) == 1 and is_stretch(filters[0])
        mark, moment = self.hot.mark, self.newest.moment()
        memory = None if moment is None else Memory(self.newest, moment)

        def read(connection: Connection, keys: Sequence[int]) -> list[bytes]:
            found = bodies(connection, keys)
            if len(found) < len(keys):
                raise Unavailable("What was remembered has been removed meanwhile.")
            return found

        def question(connection: Connection) -> Answer | None:
            kept = partial(self.hot.raws, mark=mark, read=partial(read, connection))
            reading = self.reader(connection, kept, memory)
            head = stored_head(connection) if memory is None else self.newest.head
            answer = self._stretched(reading, filters[0], cap, size, head) if only_stretch else None
            if answer is None:
                selection = self._select(reading, head, filters, cap, caught_up=True)
                answer = answered(selection, kept, size)
            # What was remembered belongs to the moment, and the snapshot may be a later one.
            return answer if moment is None or self.newest.is_still(moment) else None

        try:
            return (self._stretches if only_stretch else self._prompt).ask(question, PROMPT_BUDGET_S)
        except (MeshconsoleError, *DatabaseErrors):
            return None  # whatever it is, a reader with more patience will say it

    def fetch(self, keys: Sequence[int]) -> list[bytes]:
        with self.reading() as connection:
            return bodies(connection, keys)

    def query(self, filters: Sequence[Filter], limit: int) -> list[bytes]:
        return self.fetch(self.select(filters, limit).keys)

    def get(self, ids: Sequence[str]) -> list[bytes]:
        """Newest first. Expired events are left out."""
        return self.query([Filter(ids=frozenset(ids))], len(ids))

    def tally(self, filters: Sequence[Filter], cap: int) -> Tally:
        count = 0
        complete = self._catch_up(filters)
        try:
            with self.reading() as connection:
                for keys in self.reader(connection).pieces(filters, PIECE):
                    count += len(keys)
                    if count > cap:
                        return Tally(cap, complete=False)
        except Unavailable as error:
            if not is_interrupt(error.__cause__):
                raise
            return Tally(count, complete=False)
        return Tally(count, complete)

    def registers(self, wanted: Filter, offset: int) -> bytes:
        return sweeping.registers(self.walk([wanted]), offset)

    def items(self, wanted: Filter, cap: int) -> list[Item]:
        return sweeping.items(self.walk([wanted]), cap)

    def scan(self, filters: Sequence[Filter], after: int | None, count: int) -> Page:
        return sweeping.page(self.walk(filters, after), after, count)

    def evictable(self, each: EvictionClass) -> Iterator[list[tuple[int, int]]]:
        """Row keys and sizes of a class's events, oldest first."""
        wanted = replace(each.wanted, hidden=each.wanted.hidden | CONTROL_KINDS)
        for connection, keys in self.walk([wanted], piece=STEP):
            spared = {self._authors.number(connection, pubkey) for pubkey in each.spared}
            yield [(key, size) for key, author, size in sized(connection, keys) if author not in spared]

    def feed(self, after_seq: int, limit: int) -> list[FeedRow]:
        rows: list[FeedRow] = []
        size = 0
        with self.reading() as connection:
            alive = self.reader(connection).alive("e")
            cursor = connection.execute(
                "select e.seq, e.kind, b.raw from events e join bodies b on b.key = e.key"
                f" where e.seq > ?{alive} order by e.seq limit +?",
                (after_seq, limit),
            )
            for seq, kind, raw in cursor:
                rows.append(FeedRow(seq, raw[7:71].decode(), kind, raw))
                size += len(raw)
                if size >= FEED_BYTES:
                    break
            cursor.close()
        return rows

    def _stretched(self, reading: Reading, wanted: Filter, cap: int, size: int, head: int) -> Answer | None:
        limit = cap if wanted.limit is None else min(cap, wanted.limit)
        found = reading.stretch(wanted, limit + 1, size + size // 4)
        if found is None:
            return None
        raws, rest = found
        complete = len(raws) + len(rest) <= limit
        return Answer(raws[:limit], rest[: limit - len(raws)] if rest else [], head, complete)

    def _select(
        self, reading: Reading, head: int, filters: Sequence[Filter], cap: int, *, caught_up: bool
    ) -> Selection:
        limits = [cap if wanted.limit is None else min(cap, wanted.limit) for wanted in filters]
        sought = [reading.ranked(wanted, limit + 1) for wanted, limit in zip(filters, limits, strict=True)]
        found, complete = within_limits(sought, limits)
        if not caught_up:
            complete = False
        if len(found) == 1:
            return Selection(found[0], head, complete)
        if any(wanted.terms for wanted in filters):
            return Selection(list(dict.fromkeys(chain(*found))), head, complete)
        return Selection(sorted(set(chain(*found)), reverse=True), head, complete)

    def _those_ahead(self, ids: Collection[str]) -> set[str]:
        """To be asked for before the tables are: they hold what is not ahead any more."""
        ahead = self._ahead()
        return {event_id for event_id in ids if event_id in ahead} if ahead else set()

    def reader(
        self,
        connection: Connection,
        raws: Callable[[Sequence[int]], list[bytes]] | None = None,
        memory: Memory | None = None,
    ) -> Reading:
        now = self._now()
        expiring = self._is_expiring(now)
        return Reading(
            connection, self._hashes, self._authors, now=now, expiring=expiring, raws=raws, memory=memory
        )

    def walk(
        self, filters: Sequence[Filter], after: int | None = None, piece: int = PIECE
    ) -> Iterator[tuple[Connection, list[int]]]:
        """All that matches any of the filters, oldest first, each piece in a read transaction of its own."""
        self._catch_up(filters)
        span = UPWARDS if after is None else beyond(after, UPWARDS)
        while True:
            with self.reading() as connection:
                keys = self.reader(connection).union(filters, piece, span)
                if not keys:
                    return
                yield connection, keys
            span = beyond(keys[-1], span)

    @contextlib.contextmanager
    def reading(self, *, settled: bool = True) -> Iterator[Connection]:
        """A connection in one read transaction with a time budget; of tables that hold all there is, unless
        the caller does without."""
        if settled:
            self._settle()
        try:
            with self.readers.reading(QUERY_BUDGET_S) as connection:
                yield connection
        except DatabaseErrors as error:
            raise translate(error, self._path) from error


def stored_head(connection: Connection) -> int:
    """The store's head in the transaction of this connection."""
    (head,) = connection.execute("select value from relay_state where name = 'head_seq'").fetchone()
    return int(head)


def _seen_or(
    seen: dict[int, bytes], read: Callable[[Sequence[int]], list[bytes]], keys: Sequence[int]
) -> list[bytes]:
    """Events that were read already, or all anew."""
    return [seen[key] for key in keys] if seen.keys() >= set(keys) else read(keys)
