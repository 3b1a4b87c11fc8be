"""kill -9 during acknowledged writes: nothing that was acknowledged is lost."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from meshconsole.relay.filter import Filter
from meshconsole.relay.sqlite import SqliteEventStore
from tests.relay.making import KEY, TAG_KEY
from tests.relay.test_sqlite import ORPHANS

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_acknowledged_events_survive_kill_9(database: Path) -> None:
    acknowledged: set[str] = set()
    newest: dict[tuple[int, str], tuple[int, str]] = {}
    for round_ in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-m", "tests.relay.crashing_writer", str(database), str(round_)],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        assert writer.stdout is not None
        with writer.stdout:
            for _ in range(random.randrange(200, 800)):
                _take(writer.stdout.readline(), acknowledged, newest)
            writer.kill()
            for line in writer.stdout:  # printed before the kill
                if line.endswith("\n"):
                    _take(line, acknowledged, newest)
        assert writer.wait() == -9
        _check(database, acknowledged, newest)


def _take(line: str, acknowledged: set[str], newest: dict[tuple[int, str], tuple[int, str]]) -> None:
    kind, pubkey, created_at, event_id = line.split()
    if kind == "1":
        acknowledged.add(event_id)
    else:
        newest[int(kind), pubkey] = (int(created_at), event_id)


def _check(database: Path, acknowledged: set[str], newest: dict[tuple[int, str], tuple[int, str]]) -> None:
    store = SqliteEventStore(database, KEY, TAG_KEY)
    try:
        assert store.known(acknowledged) == acknowledged
        for (kind, pubkey), (created_at, _) in newest.items():
            wanted = Filter(kinds=frozenset({kind}), authors=frozenset({pubkey}), since=created_at)
            assert len(store.query([wanted], 5)) == 1, "the acknowledged version, or a newer one"
        for question in ORPHANS:
            assert store._writer.execute(question).fetchone() == (0,), question
        assert store._writer.execute("pragma integrity_check").fetchone() == ("ok",)
        rows = store.feed(0, 1_000_000)
        assert [row.seq for row in rows] == sorted({row.seq for row in rows})
        assert store.head_seq >= rows[-1].seq
    finally:
        store.close()
