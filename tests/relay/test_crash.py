"""Nothing that was acknowledged is lost, whatever stops the writer: kill -9, the power, a full disk."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from meshconsole.core.errors import CorruptData
from meshconsole.relay.filter import Filter
from meshconsole.relay.sqlite import SqliteEventStore
from tests.relay.making import KEY, NOW, TAG_KEY, raw, unsigned
from tests.relay.test_sqlite import ORPHANS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]

LEAST_ROOM = 300_000
"""The log of a new store has 235 kB until it is emptied; with less, all depends on when that is."""


class Acknowledged:
    """What a writer printed: regular events, and the newest version of each address."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.newest: dict[tuple[int, str, str], int] = {}

    def take(self, line: str) -> None:
        words = line.split()
        if not words:
            return
        kind, pubkey, created_at, event_id, *more = words
        if int(kind) in (1, 7):
            self.ids.add(event_id)
        else:
            place = (int(kind), pubkey, more[0] if more and kind == "30023" else "")
            self.newest[place] = int(created_at)

    def check(self, database: Path) -> None:
        store = SqliteEventStore(database, KEY, TAG_KEY)
        try:
            with store._committing.lock:
                assert store._writer.execute("pragma integrity_check").fetchone() == ("ok",)
            assert store.known(self.ids) == self.ids
            for (kind, pubkey, d), created_at in self.newest.items():
                tags = (("d", frozenset({d})),) if d else ()
                wanted = Filter(None, frozenset({pubkey}), frozenset({kind}), tags, created_at)
                assert len(store.query([wanted], 5)) == 1, "the acknowledged version, or a newer one"
            with store._committing.lock:
                for question in ORPHANS:
                    assert store._writer.execute(question).fetchone() == (0,), question
            rows = store.feed(0, 1_000_000)
            assert [row.seq for row in rows] == sorted({row.seq for row in rows})
            assert store.head_seq >= rows[-1].seq
            store.query([Filter(search="x")], 5)
            with store._committing.lock:  # beside the upkeep, which indexes
                store._writer.execute("pragma wal_checkpoint(truncate)")
                assert store._writer.execute("pragma cipher_integrity_check").fetchall() == []
        finally:
            store.close()


@contextmanager
def writer(module: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", f"tests.relay.{module}", *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=ROOT, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read(process: subprocess.Popen[str], lines: int, into: Acknowledged) -> None:
    assert process.stdout is not None
    for _ in range(lines):
        into.take(process.stdout.readline())


def read_rest(process: subprocess.Popen[str], into: Acknowledged) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.endswith("\n"):  # printed whole before the end
            into.take(line)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["crashing_writer", "storing_writer"])
def test_acknowledged_events_survive_kill_9(database: Path, module: str) -> None:
    acknowledged = Acknowledged()
    for round_ in range(5):
        with writer(module, database, round_) as process:
            read(process, random.randrange(200, 800), acknowledged)
            process.kill()
            read_rest(process, acknowledged)
            assert process.wait() == -signal.SIGKILL
        acknowledged.check(database)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_acknowledged_events_survive_a_storm_of_kill_9(database: Path) -> None:
    acknowledged = Acknowledged()
    for round_ in range(100):
        with writer("storing_writer", database, round_) as process:
            read(process, random.randrange(1, 3000), acknowledged)
            process.kill()
            read_rest(process, acknowledged)
        acknowledged.check(database)


@pytest.mark.parametrize(
    ("wanted", "torn"),
    [
        pytest.param(4, False, marks=pytest.mark.slow),
        pytest.param(4, True, marks=pytest.mark.slow),
        pytest.param(20, True, marks=pytest.mark.soak),
    ],
)
def test_acknowledged_events_survive_a_power_cut(tmp_path: Path, wanted: int, torn: bool) -> None:
    if not os.access("/dev/fuse", os.R_OK | os.W_OK) or shutil.which("fusermount") is None:
        pytest.skip("needs /dev/fuse and Debian's package fuse (or fuse3)")
    try:
        import mfusepy  # noqa: F401
    except (ImportError, OSError):
        pytest.skip("needs mfusepy from PyPI and libfuse: pip install mfusepy")
    backing, mount = tmp_path / "backing", tmp_path / "mount"
    backing.mkdir()
    mount.mkdir()
    acknowledged = Acknowledged()
    cuts = 0
    for round_ in range(2 * wanted):
        before = len(acknowledged.ids)
        with writer("powerfs", backing, mount, *(["torn"] if torn else [])) as disk:
            try:
                _wait_for_mount(mount)
                with writer("storing_writer", mount / "node.db", round_) as process:
                    read(process, random.randrange(100, 600), acknowledged)
                    assert disk.stdin is not None
                    assert disk.stdout is not None
                    print(file=disk.stdin, flush=True)
                    assert disk.stdout.readline() == "cut\n"
                    # What is printed from here on may never have reached the disk: the power is off.
                    process.kill()
            finally:
                subprocess.run(["fusermount", "-u", "-z", str(mount)], check=True)
        if len(acknowledged.ids) == before:
            continue  # the mount was not ready for it: nothing was acknowledged, so no cut was tried
        acknowledged.check(backing / "node.db")
        cuts += 1
        if cuts == wanted:
            return
    pytest.fail(f"only {cuts} rounds got as far as a cut")


def _wait_for_mount(mount: Path) -> None:
    until = time.monotonic() + 30
    while not os.path.ismount(mount):
        if time.monotonic() > until:
            pytest.fail("the file system was not mounted")
        time.sleep(0.02)


@pytest.mark.slow
def test_acknowledged_events_survive_a_disk_that_is_full_at_any_byte(tmp_path: Path) -> None:
    """No file may grow beyond a random size: writes end in the middle of a page, of a frame, of a header."""
    for round_ in range(6):
        database = tmp_path / f"{round_}.db"
        acknowledged = Acknowledged()
        with writer("storing_writer", database, round_, random.randrange(LEAST_ROOM, 2_000_000)) as process:
            read_rest(process, acknowledged)
            assert process.wait() == 0
        assert acknowledged.ids
        acknowledged.check(database)
        with writer("storing_writer", database, f"{round_} again") as process:
            read(process, 200, acknowledged)  # with room again it goes on
            process.kill()
            read_rest(process, acknowledged)
        acknowledged.check(database)


def test_a_damaged_page_never_gives_other_bytes(database: Path) -> None:
    """Each event comes back as it was, or the damage is named; and what is whole can still be read."""
    events = [
        unsigned(f"author {n % 7}", content=f"{n} " + "x" * 400, created_at=NOW + n) for n in range(300)
    ]
    expected = {event.id: [raw(event)] for event in events}
    store = SqliteEventStore(database, KEY, TAG_KEY)
    store.add(events)
    store.vacuum()
    store.close()
    whole = database.read_bytes()
    chance = random.Random(7)
    readable = 0
    for _ in range(12):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        database.write_bytes(data)
        for name in ("node.db-wal", "node.db-shm"):
            database.with_name(name).unlink(missing_ok=True)
        try:
            store = SqliteEventStore(database, KEY, TAG_KEY)
        except CorruptData:
            continue
        for event in chance.sample(events, 60):
            try:
                assert store.get([event.id]) == expected[event.id]
                readable += 1
            except CorruptData:
                continue
        store.close()
    assert readable > 0
