"""All that may happen to the event store at once, for a while: nothing that was acknowledged is lost,
doubled, renumbered or found too late; nothing that was removed comes back; and everybody gets on."""

from __future__ import annotations

import random
import shutil
import threading
import time
from itertools import count
from typing import TYPE_CHECKING

import pytest

from meshconsole.relay.filter import Filter
from meshconsole.relay.memory import CACHES
from meshconsole.relay.sqlite import SqliteEventStore
from meshconsole.relay.store import as_entry
from tests.relay.making import KEY, NOW, TAG_KEY, unsigned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from meshconsole.core.event import Event

pytestmark = pytest.mark.soak

SECONDS = 60
ALL = [Filter()]


class AtOnce:
    """What several threads do for as long as none of them finds a fault."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = SqliteEventStore(folder / "node.db", KEY, TAG_KEY, log_bytes=1 << 20)
        self.acknowledged: dict[str, int] = {}
        self.removed: set[str] = set()
        """Or about to be."""
        self.faults: list[BaseException] = []
        self._known = threading.Lock()
        self._numbers = count()
        self._over = threading.Event()

    def run(self, *, seconds: float) -> None:
        does = (self.alone, self.alone, self.many, self.newer, self.remove, self.follow, self.tend, self.copy)
        threads = [
            threading.Thread(target=self._repeat, args=(each, random.Random(place)), daemon=True)
            for place, each in enumerate((*does, self.kill))
        ]
        for thread in threads:
            thread.start()
        self._over.wait(seconds)
        self._over.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "waits for ever"

    def _repeat(self, does: Callable[[random.Random], None], chance: random.Random) -> None:
        while not self._over.is_set():
            try:
                does(chance)
            except BaseException as fault:
                self.faults.append(fault)
                self._over.set()

    def _note(self, chance: random.Random) -> Event:
        content = f"word{next(self._numbers)} " + "x" * chance.randrange(1500)
        return unsigned(f"author {chance.randrange(50)}", 1, (), content, NOW + chance.randrange(1000))

    def alone(self, chance: random.Random) -> None:
        events = [self._note(chance) for _ in range(chance.choice((1, 1, 1, 2, 8)))]
        entries = [as_entry(event) for event in events]
        written = self.store.write_now(entries) or self.store.write(entries)
        self._acknowledge(events, [each.seq for each in written])
        first, seq = events[0].id, written[0].seq
        now = self.store.answer_now([Filter(ids=frozenset({first}))], 1, 4096)
        found = (
            now is None or bool(now.raws),
            first in self.store.known([first]),
            bool(self.store.get([first])),
            [row.id for row in self.store.feed(seq - 1, 1)] == [first],
        )
        assert all(found) or first in self.removed, found
        assert self.store.head_seq >= seq

    def many(self, chance: random.Random) -> None:
        events = [self._note(chance) for _ in range(chance.randrange(9, 60))]
        written = self.store.write([as_entry(event) for event in events])
        self._acknowledge(events, [each.seq for each in written])
        time.sleep(0.01)

    def newer(self, chance: random.Random) -> None:
        self.store.add([unsigned(f"author {chance.randrange(5)}", 0, created_at=NOW + next(self._numbers))])
        time.sleep(0.003)

    def remove(self, chance: random.Random) -> None:
        with self._known:
            ids = chance.sample(sorted(self.acknowledged), min(3, len(self.acknowledged)))
            self.removed.update(ids)
        self.store.delete([Filter(ids=frozenset(ids))], dry_run=False)
        assert not self.store.known(ids)
        time.sleep(0.01)

    def follow(self, chance: random.Random) -> None:
        head = self.store.head_seq
        assert self.store.answer([Filter(limit=1)], 1, 4096).head_seq >= head
        rows = self.store.feed(max(0, head - 20), 1000)
        with self._known:
            assert all(self.acknowledged.get(row.id, row.seq) == row.seq for row in rows)
        assert [row.seq for row in rows] == sorted({row.seq for row in rows})

    def tend(self, chance: random.Random) -> None:
        chance.choice(
            (
                lambda: self.store.vacuum_step(5),
                self.store.purge_expired,
                lambda: self.store.set_caches(CACHES[chance.choice(sorted(CACHES))]),
                lambda: self.store.limit_log(chance.choice((1 << 19, 1 << 20))),
                lambda: self.store.tally(ALL, 1_000_000),
                lambda: self.store.items(Filter(), 1_000_000),
                lambda: self.store.query([Filter(search=f"word{chance.randrange(100)}")], 5),
            )
        )()
        time.sleep(0.01)

    def copy(self, chance: random.Random) -> None:
        expected = self._expected()
        self.store.backup(self.folder / "copy.db")
        self._check(self.folder / "copy.db", expected)
        for path in self.folder.glob("copy.db*"):
            path.unlink()
        time.sleep(0.1)

    def kill(self, chance: random.Random) -> None:
        """What another process finds if this one ends now. While the files are copied none may change."""
        to = self.folder / "killed"
        to.mkdir()
        with self.store._committing.lock, self.store._committing.checkpointing:
            expected = self._expected()
            for path in self.folder.glob("node.db*"):
                shutil.copy(path, to / path.name)
        self._check(to / "node.db", expected)
        shutil.rmtree(to)
        time.sleep(0.2)

    def _acknowledge(self, events: list[Event], places: list[int]) -> None:
        with self._known:
            self.acknowledged.update((event.id, seq) for event, seq in zip(events, places, strict=True))

    def _expected(self) -> set[str]:
        with self._known:
            return self.acknowledged.keys() - self.removed

    def _check(self, database: Path, expected: set[str]) -> None:
        copy = SqliteEventStore(database, KEY, TAG_KEY)
        assert expected - copy.known(expected) <= self.removed
        after = 0
        while rows := copy.feed(after, 10_000):
            assert all(self.acknowledged.get(row.id, row.seq) == row.seq for row in rows)
            after = rows[-1].seq
        copy.close()


def test_nothing_is_lost_doubled_or_back_whatever_happens_at_once(tmp_path: Path) -> None:
    at_once = AtOnce(tmp_path)
    at_once.run(seconds=SECONDS)
    if at_once.faults:
        raise at_once.faults[0]
    at_once.store.close()
    store = SqliteEventStore(tmp_path / "node.db", KEY, TAG_KEY)
    assert store.known(at_once.acknowledged) == at_once.acknowledged.keys() - at_once.removed
    assert store.count() == len(store.query(ALL, 10_000_000))
    store.close()
