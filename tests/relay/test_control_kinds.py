"""What a team was told about itself stays: deletions do not reach it, newer bundles do not replace it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from meshconsole.core.errors import Refused
from meshconsole.core.kinds import DELETION, EPOCH_GRANT, KEY_BUNDLE, ROSTER_ENTRY
from meshconsole.crypto.schnorr import sign_event
from meshconsole.relay.sqlite import SqliteEventStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from meshconsole.core.event import Event


SECRET = bytes([7]) * 32


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteEventStore]:
    made = SqliteEventStore(tmp_path / "node.db", os.urandom(32), os.urandom(32))
    yield made
    made.close()


def signed(kind: int, *tags: tuple[str, ...], at: int = 1000) -> Event:
    return sign_event(SECRET, kind, tags, "", at)


@pytest.mark.parametrize("kind", [ROSTER_ENTRY, KEY_BUNDLE, EPOCH_GRANT])
@pytest.mark.parametrize("first", ["event", "deletion"])
def test_control_events_cannot_be_deleted(store: SqliteEventStore, kind: int, first: str) -> None:
    event = signed(kind, ("d", "x"))
    deletion = signed(DELETION, ("e", event.id), ("a", f"{kind}:{event.pubkey}:x"), at=2000)
    for each in [event, deletion] if first == "event" else [deletion, event]:
        assert all(verdict.accepted for verdict in store.add([each]))
    assert len(store.get([event.id])) == 1


def test_a_newer_key_bundle_does_not_replace_an_older_one(store: SqliteEventStore) -> None:
    old, new = signed(KEY_BUNDLE, ("d", "mc:1")), signed(KEY_BUNDLE, ("d", "mc:1"), at=2000)
    store.add([old, new])
    assert len(store.get([old.id, new.id])) == 2


def test_a_full_quota_does_not_keep_the_team_from_changing(tmp_path: Path) -> None:
    class Full:
        def reserve(self, count: int) -> None:
            raise Refused("restricted", "full")

        def release(self, count: int) -> None:
            raise AssertionError

    store = SqliteEventStore(tmp_path / "full.db", os.urandom(32), os.urandom(32), quota=Full(), log_bytes=0)
    try:
        large = ("t", "x" * 8192)  # more than fits into the page that a new database has left over
        assert [v.accepted for v in store.add([signed(ROSTER_ENTRY, large)])] == [True]
        assert [v.accepted for v in store.add([signed(1, large)])] == [False]
    finally:
        store.close()
