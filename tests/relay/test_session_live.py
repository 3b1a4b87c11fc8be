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


def test_live_events_wait_for_the_stored_ones_and_none_comes_twice() -> None:
    bench = Bench()
    subscription = bench.open()
    for seq in (4, 5, 6, 0):
        bench.session.deliver(subscription, seq, b'{"seq":%d}' % seq)
    assert bench.said() == []
    bench.session.stored(subscription, [b'{"seq":5}', b'{"seq":4}'])
    bench.session.finish(subscription, 5)
    bench.session.deliver(subscription, 5, b'{"seq":5}')
    bench.session.deliver(subscription, 7, b'{"seq":7}')
    assert [said[-1] for said in bench.said()] == [
        {"seq": 5},
        {"seq": 4},
        "sub",
        {"seq": 6},
        {"seq": 0},
        {"seq": 7},
    ]


@given(st.data())
def test_every_event_comes_exactly_once(data: st.DataObject) -> None:
    """Whatever the order of commit, snapshot, end of reading and live delivery."""
    committed = data.draw(st.integers(0, 6))
    snapshot = data.draw(st.integers(0, committed))
    delivered_before = data.draw(st.integers(0, committed))
    bench = Bench()
    # Events 1..n were announced before the REQ; they are stored, so the snapshot holds them.
    announced_before = data.draw(st.integers(0, snapshot))
    subscription = bench.open()
    for seq in range(announced_before + 1, delivered_before + 1):
        bench.session.deliver(subscription, seq, b'{"seq":%d}' % seq)
    bench.session.stored(subscription, [b'{"seq":%d}' % seq for seq in range(snapshot, 0, -1)])
    bench.session.finish(subscription, snapshot)
    for seq in range(max(announced_before, delivered_before) + 1, committed + 1):
        bench.session.deliver(subscription, seq, b'{"seq":%d}' % seq)
    seqs = [said[2]["seq"] for said in bench.said() if said[0] == "EVENT"]
    assert sorted(seqs) == list(range(1, committed + 1))


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
