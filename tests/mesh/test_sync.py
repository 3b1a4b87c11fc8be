"""The sync machine: two of them, driven by hand, with every kind of bad luck."""

from __future__ import annotations

import random

import pytest

from meshconsole.core.kinds import EPOCH_GRANT, ROSTER_ENTRY, TEAM_NOTE, TEXT_NOTE
from meshconsole.core.precedence import Precedence
from meshconsole.core.verdict import ACCEPTED, Verdict, refuse
from meshconsole.mesh.flights import WINDOW_BYTES
from meshconsole.mesh.messages import OFFER, Want
from meshconsole.mesh.rows import Row
from tests.mesh.sync_pair import (
    MemoryStore,
    Pair,
    Side,
    fill_store,
    id_of,
    make_event,
    make_pair,
    refuse_label,
)


def test_a_fresh_peer_takes_over_everything_once() -> None:
    pair = make_pair()
    fill_store(pair.a, "a", 700)
    fill_store(pair.b, "b", 300)
    pair.connect()
    pair.settle()
    assert pair.a.store.ids == pair.b.store.ids
    assert len(pair.a.store.ids) == 1000
    assert pair.a.store.offered_again == pair.b.store.offered_again == 0
    assert pair.a.sync.taking.lag == pair.b.sync.taking.lag == 0


def test_control_events_arrive_before_the_backlog() -> None:
    pair = make_pair()
    fill_store(pair.a, "note", 400)
    pair.a.store.add(make_event("removal", ROSTER_ENTRY))
    pair.a.store.add(make_event("grant", EPOCH_GRANT))
    pair.connect()
    pair.settle()
    first_two = [raw for _, raw in pair.b.store.rows[:2]]
    assert set(first_two) == {make_event("removal", ROSTER_ENTRY), make_event("grant", EPOCH_GRANT)}
    assert pair.b.store.offered_again == 0
    assert pair.b.store.ids == pair.a.store.ids


def test_following_live_sends_each_event_once_and_echoes_none() -> None:
    pair = make_pair()
    pair.connect()
    pair.settle()
    before = pair.bytes_carried
    raw = make_event("hello", size=400)
    pair.a.write(raw, pair.now)
    pair.settle()
    assert pair.b.store.ids == {id_of(raw)}
    assert pair.a.store.offered_again == 0
    assert pair.bytes_carried - before < len(raw) + 200
    assert pair.a.sync.taking.lag == 0, "B's cursor of its own log passed over the echo"


def test_echoes_make_no_lag() -> None:
    pair = make_pair()
    pair.connect()
    pair.settle()
    pair.a.write(make_event("hello"), pair.now)
    while pair.step():
        continue
    assert pair.b.store.head == 1
    assert pair.b.sync.serving.announced == 0, "A has that event: what B adds to its log is nothing to take"
    pair.b.write(make_event("news"), pair.now)
    assert pair.b.sync.serving.announced == 2


def test_many_live_events_both_ways() -> None:
    pair = make_pair()
    pair.connect()
    for number in range(200):
        pair.a.write(make_event(f"a{number}"), pair.now)
        pair.b.write(make_event(f"b{number}"), pair.now)
        if number % 7 == 0:
            pair.step()
    pair.settle()
    assert pair.a.store.ids == pair.b.store.ids
    assert len(pair.a.store.ids) == 400
    assert pair.a.store.offered_again == pair.b.store.offered_again == 0


def test_events_that_came_from_elsewhere_are_offered_not_pushed() -> None:
    pair = make_pair()
    for number in range(500):
        raw = make_event(f"shared{number}", size=1000)
        pair.a.store.add(raw)
        pair.b.store.add(raw)
    pair.a.store.add(make_event("only-a", size=1000))
    pair.connect()
    pair.settle()
    assert len(pair.b.store.ids) == 501
    assert pair.b.store.offered_again == 0
    assert pair.bytes_carried < 2 * 501 * OFFER + 3000, "two offers a row and one event in full"


@pytest.mark.parametrize("cut_after", range(0, 240, 3))
def test_a_link_lost_at_any_step_loses_nothing(cut_after: int) -> None:
    pair = make_pair()
    fill_store(pair.a, "a", 40, size=5000)
    fill_store(pair.b, "b", 40, local=False, size=5000)
    pair.connect()
    for _ in range(cut_after):
        pair.step()
    pair.cut()
    pair.a.write(make_event("while-apart"), pair.now)
    pair.connect()
    pair.settle()
    assert pair.a.store.ids == pair.b.store.ids
    assert len(pair.a.store.ids) == 81
    assert pair.a.sync.taking.lag == pair.b.sync.taking.lag == 0


@pytest.mark.parametrize("cut_after", range(0, 200, 9))
def test_a_restart_at_any_step_goes_on_from_the_cursor(cut_after: int) -> None:
    pair = make_pair()
    fill_store(pair.a, "a", 60, size=8000)
    pair.connect()
    for _ in range(cut_after):
        pair.step()
    pair.cut()
    pair.b.reset()
    saved = pair.b.store.cursors.get("log-a", 0)
    taken = len(pair.b.store.ids)
    assert taken >= saved, "the cursor is never ahead of the store"
    pair.connect()
    want = pair.b.sync.taking.outbox[0]
    assert isinstance(want, Want)
    assert want.after == saved
    pair.settle()
    assert pair.b.store.ids == pair.a.store.ids


def test_random_cuts_restarts_and_writes_end_in_equal_stores() -> None:
    for seed in range(25):
        rng = random.Random(seed)
        pair = make_pair()
        pair.connect()
        written = 0
        for _ in range(400):
            action = rng.random()
            if action < 0.25:
                side = rng.choice((pair.a, pair.b))
                raw = make_event(f"{seed}/{written}", rng.choice((TEXT_NOTE, ROSTER_ENTRY)), 200)
                side.store.add(raw, local=True, gap=rng.randrange(3))
                side.sync.stored(side.store.head, pair.now)
                written += 1
            elif action < 0.28:
                pair.cut()
                if rng.random() < 0.5:
                    rng.choice((pair.a, pair.b)).reset()
                pair.connect()
            else:
                pair.step()
        pair.settle()
        assert pair.a.store.ids == pair.b.store.ids, seed
        assert len(pair.a.store.ids) == written
        assert pair.a.sync.taking.lag == pair.b.sync.taking.lag == 0


def test_lag_counts_down_to_zero_and_no_further() -> None:
    pair = make_pair()
    fill_store(pair.a, "a", 300, size=2000)
    pair.connect()
    lags = [pair.b.sync.taking.lag]
    while pair.step():
        lags.append(pair.b.sync.taking.lag)
    assert lags[0] == 300
    assert lags[-1] == 0
    assert sorted(lags, reverse=True) == lags


def test_a_refused_event_is_counted_once_and_never_asked_for_again() -> None:
    pair = make_pair()
    fill_store(pair.a, "good", 20, local=False)
    pair.a.store.add(make_event("forged"))
    fill_store(pair.a, "more", 20, local=False)
    pair.b.store.judge = refuse_label("forged")
    pair.connect()
    pair.settle()
    assert pair.b.sync.taking.refused == 1
    assert len(pair.b.store.ids) == 40
    assert pair.b.sync.taking.lag == 0
    carried = pair.bytes_carried
    pair.cut()
    pair.connect()
    pair.settle()
    assert pair.b.sync.taking.refused == 1
    assert pair.bytes_carried - carried < 2500, "only the offers of the other direction"


def test_what_the_roster_may_make_good_is_passed_over_and_brought_again_by_a_comparison() -> None:
    pair = make_pair()
    fill_store(pair.a, "good", 20, local=False)
    early = make_event("early")
    pair.a.store.add(early)
    fill_store(pair.a, "more", 20, local=False)
    pair.b.store.judge = refuse_label("early", "auth-required")
    pair.connect()
    pair.settle()
    assert len(pair.b.store.ids) == 40, "the stream does not wait for it"
    pair.b.store.judge = refuse_label("nothing")
    pair.cut()
    pair.a.reset()  # a session of its own begins when devices meet again; `settled` outlives it
    pair.connect()
    pair.settle()
    assert id_of(early) in pair.b.store.ids


def test_a_full_disk_stops_the_stream_and_freed_space_resumes_it() -> None:
    pair = make_pair()
    fill_store(pair.a, "a", 50)
    is_full = True

    def judge(_raw: bytes) -> Verdict:
        if is_full and len(pair.b.store.ids) >= 10:
            return refuse("restricted", "the storage quota is used up")
        return ACCEPTED

    pair.b.store.judge = judge
    pair.connect()
    for _ in range(500):
        pair.step()
    taking = pair.b.sync.taking
    assert taking.trouble == "the storage quota is used up"
    assert pair.b.store.cursors.get("log-a", 0) == 0, "nothing that was refused may be passed over"
    is_full = False
    pair.settle()
    assert pair.b.store.ids == pair.a.store.ids
    assert taking.trouble == ""
    assert taking.lag == 0


def test_a_relay_is_sent_ciphertext_only() -> None:
    pair = make_pair(role_of_b="relay")
    pair.a.store.add(make_event("sealed", TEAM_NOTE), local=True)
    pair.a.store.add(make_event("plain", TEXT_NOTE), local=True)
    pair.a.store.add(make_event("roster", ROSTER_ENTRY), local=True)
    pair.connect()
    pair.settle()
    kinds = {raw for _, raw in pair.b.store.rows}
    assert kinds == {make_event("sealed", TEAM_NOTE), make_event("roster", ROSTER_ENTRY)}
    assert pair.b.sync.taking.lag == 0
    pair.a.sync.send_live([Row(0, b"x" * 32, TEXT_NOTE, b"{}")])
    assert pair.a.sync.live_outbox == []


def test_the_window_bounds_what_is_under_way() -> None:
    pair = make_pair()
    pair.connect()
    pair.settle()
    for number in range(500):
        pair.a.write(make_event(f"a{number}", size=10_000), pair.now)
    while pair.a.answer_one(pair.now):
        pair.flush(pair.a, pair.to_b)
    waiting = sum(len(data) for data in pair.to_b)
    assert WINDOW_BYTES // 2 < waiting <= WINDOW_BYTES + 20_000, "B answers nothing, so A stops"


def test_a_restored_database_with_a_shorter_log_starts_over() -> None:
    pair = make_pair()
    fill_store(pair.a, "a", 5)
    pair.b.store.cursors["log-a"] = 900
    pair.connect()
    pair.settle()
    assert pair.b.store.ids == pair.a.store.ids
    assert pair.b.store.cursors["log-a"] == 5


def test_live_events_do_not_move_the_cursor() -> None:
    pair = make_pair()
    pair.connect()
    pair.settle()
    raw = make_event("ephemeral", 24201)
    pair.a.sync.send_live([Row(0, id_of(raw), 24201, raw)])
    pair.settle()
    assert pair.b.live == [raw]
    assert pair.b.store.cursors.get("log-a", 0) == 0
    pair.b.sync.send_live([Row(0, id_of(raw), 24201, raw)])
    assert pair.b.sync.live_outbox == [], "the peer it came from has it"


def test_fresh_events_overtake_a_backlog_but_not_a_burst() -> None:
    pair = make_pair()
    fill_store(pair.a, "old", 2000, size=2000)
    pair.connect()
    for _ in range(30):
        pair.step()
    serving = pair.a.sync.serving
    assert serving.is_backlogged(pair.now), "two megabytes go before"
    pair.settle()
    assert not serving.is_backlogged(pair.now)
    for number in range(600):
        pair.a.write(make_event(f"burst{number}", size=2000), pair.now)
    while pair.a.answer_one(pair.now):
        pair.flush(pair.a, pair.to_b)
    assert not serving.is_backlogged(pair.now), "a full window that has just begun to wait"
    assert serving.is_backlogged(pair.now + 2.0), "one that does not move is a backlog"
    pair.settle()
    assert pair.a.store.ids == pair.b.store.ids


def test_a_line_of_three_passes_everything_on() -> None:
    a, b1 = Side(MemoryStore("a")), Side(MemoryStore("b"))
    b2, c = Side(b1.store), Side(MemoryStore("c"))
    left, right = Pair(a, b1), Pair(b2, c)
    fill_store(a, "a", 30)
    fill_store(c, "c", 30)
    left.connect()
    right.connect()
    for _ in range(6):
        left.settle()
        b2.sync.stored(b2.store.head, right.now)
        right.settle()
        b1.sync.stored(b1.store.head, left.now)
    assert a.store.ids == b1.store.ids == c.store.ids
    assert len(a.store.ids) == 60
    assert max(s.store.offered_again for s in (a, b1, c)) == 0


def test_flash_overtakes_a_backlog_and_comes_once() -> None:
    pair = make_pair()
    fill_store(pair.a, "old", 600, local=False, size=2000)
    pair.connect()
    for _ in range(12):
        pair.step()
    raw = make_event("flash", TEAM_NOTE)
    pair.a.store.add(raw)
    pair.a.sync.send_live([Row(pair.a.store.head, id_of(raw), TEAM_NOTE, raw, False, Precedence.FLASH)])
    assert [precedence for precedence, _ in pair.a.sync.live_outbox] == [Precedence.FLASH]
    pair.a.sync.stored(pair.a.store.head, pair.now)
    while not pair.b.live:
        assert pair.step()
    assert len(pair.b.store.ids) < 600
    pair.settle()
    assert pair.b.store.ids == pair.a.store.ids


def test_while_a_link_carries_flash_only_the_log_waits_and_goes_on_afterwards() -> None:
    pair = make_pair()
    pair.connect()
    pair.settle()
    pair.a.sync.serving.hold(True, pair.now)
    before = pair.bytes_carried
    fill_store(pair.a, "routine", 30, local=False)
    pair.a.sync.stored(pair.a.store.head, pair.now)
    pair.settle()
    assert pair.bytes_carried == before
    pair.a.sync.serving.hold(False, pair.now)
    pair.settle()
    assert pair.b.store.ids == pair.a.store.ids


def test_on_a_poor_link_nothing_is_pushed_and_what_goes_as_datagrams_waits() -> None:
    pair = make_pair()
    pair.connect()
    pair.settle()
    serving = pair.a.sync.serving
    carried: set[bytes] = set()
    serving.is_poor = lambda: True
    serving.carried = carried.__contains__
    first, second = (make_event(label, size=400) for label in ("first", "second"))
    carried.add(id_of(first))
    before = pair.bytes_carried
    for raw in (first, second):
        pair.a.write(raw, pair.now)
    pair.settle(within_s=0.1)
    assert pair.b.store.ids == set(), "the row behind it waits as well: the log has an order"
    pair.a.sync.known.add(id_of(first))  # it came by datagram, and was answered
    pair.settle(within_s=0.3)
    assert pair.b.store.ids == {id_of(second)}
    carried.clear()
    third = make_event("third", size=400)
    pair.a.write(third, pair.now)
    pair.settle()
    assert pair.b.store.ids == {id_of(second), id_of(third)}
    assert pair.bytes_carried - before < 2 * 400 + 900, "each was offered and sent once"
