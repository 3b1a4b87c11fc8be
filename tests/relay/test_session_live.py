"""The session machine: stored events, then live ones, each exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.verdict import refuse
from meshconsole.relay import session as session_module
from tests.relay.session_bench import Bench

if TYPE_CHECKING:
    import pytest


def test_live_events_follow() -> None:
    bench = Bench()
    subscription = bench.follow(snapshot=3)
    bench.session.deliver(subscription, 4, b'{"n":4}')
    bench.session.deliver(subscription, 0, b'{"ephemeral":1}')
    assert bench.said() == [["EVENT", "sub", {"n": 4}], ["EVENT", "sub", {"ephemeral": 1}]]


def event(seq: int) -> bytes:
    """In the one spelling that events have: the id in its place."""
    return b'{"id":"%064x","seq":%d}' % (seq, seq)


def seqs(bench: Bench) -> list[int]:
    return [said[2]["seq"] for said in bench.said() if said[0] == "EVENT"]


def test_live_events_wait_for_the_stored_ones_and_none_comes_twice() -> None:
    bench = Bench()
    subscription = bench.open()
    subscription.sent = set()
    for seq in (4, 5, 6):
        bench.session.deliver(subscription, seq, event(seq))
    bench.session.deliver(subscription, 0, b'{"ephemeral":1}')
    assert bench.said() == []
    bench.session.stored(subscription, [event(5), event(4)])
    bench.session.finish(subscription, 5)
    bench.session.deliver(subscription, 5, event(5))
    bench.session.deliver(subscription, 7, event(7))
    said = bench.said()
    assert [message[0] for message in said] == ["EVENT", "EVENT", "EOSE", "EVENT", "EVENT", "EVENT"]
    assert [message[2].get("seq") for message in said if message[0] == "EVENT"] == [5, 4, 6, None, 7]


def test_what_a_limit_kept_from_the_stored_part_comes_live() -> None:
    """`limit` counts stored events only, and this one came after the REQ (NIP-01)."""
    bench = Bench()
    subscription = bench.open("sub", {"limit": 1})
    subscription.sent = set()
    bench.session.deliver(subscription, 5, event(5))
    bench.session.deliver(subscription, 6, event(6))
    bench.session.stored(subscription, [event(6)])
    bench.session.finish(subscription, 7, settled=False)
    assert seqs(bench) == [6, 5]
    bench.session.deliver(subscription, 7, event(7))
    assert seqs(bench) == [7], "the snapshot had it, the limit cut it, and it is passed on late"


@given(st.data())
def test_every_event_comes_exactly_once(data: st.DataObject) -> None:
    """Whatever the order of commit, snapshot, end of reading and live delivery, and whatever a limit
    keeps from the stored part of what came after the REQ."""
    committed = data.draw(st.integers(0, 6))
    snapshot = data.draw(st.integers(0, committed))
    delivered_before = data.draw(st.integers(0, committed))
    # Events 1..n were announced before the REQ; they are stored, so the snapshot holds them.
    announced_before = data.draw(st.integers(0, snapshot))
    cut = data.draw(st.sets(st.integers(announced_before + 1, 7)))
    stored = [seq for seq in range(snapshot, 0, -1) if seq not in cut]
    bench = Bench()
    subscription = bench.open()
    if snapshot > announced_before:
        subscription.sent = set()
    for seq in range(announced_before + 1, delivered_before + 1):
        bench.session.deliver(subscription, seq, event(seq))
    bench.session.stored(subscription, [event(seq) for seq in stored])
    announced = max(announced_before, delivered_before)
    bench.session.finish(subscription, snapshot, settled=announced >= snapshot)
    for seq in range(announced + 1, committed + 1):
        bench.session.deliver(subscription, seq, event(seq))
    assert sorted(seqs(bench)) == list(range(1, committed + 1))
    if committed > snapshot or announced >= snapshot:
        assert subscription.sent is None, "nothing is remembered that cannot come any more"


def test_live_events_must_not_outrun_the_stored_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "MAX_WAITING_BYTES", 100)
    bench = Bench()
    subscription = bench.open()
    for seq in range(1, 4):
        bench.session.deliver(subscription, seq, b"x" * 40)
    assert bench.said() == [["CLOSED", "sub", "error: too slow: live events outran the stored ones"]]
    assert subscription.closed
    assert not subscription.waiting


def test_a_slow_client_loses_its_subscription_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "MAX_UNSENT_BYTES", 100)
    bench = Bench()
    slow, other = bench.follow("slow"), bench.follow("other")
    for seq in range(1, 9):
        bench.session.deliver(slow, seq, b'"' + b"x" * 40 + b'"')
    assert slow.closed
    said = bench.said()
    assert said[-1][:2] == ["CLOSED", "slow"]
    assert [message[0] for message in said].count("EVENT") == 2
    bench.session.deliver(other, 9, b"{}")
    assert bench.said() == [["EVENT", "other", {}]]


def test_a_failed_query_closes() -> None:
    bench = Bench()
    subscription = bench.open()
    bench.session.fail(subscription, refuse("error", "the disk is gone"))
    bench.session.fail(subscription, refuse("error", "again"))
    assert bench.said() == [["CLOSED", "sub", "error: the disk is gone"]]
