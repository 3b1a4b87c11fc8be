"""Comparing whole stores inside the sync machine: what cursors pass over is found again, and liars are not
believed for ever."""

from __future__ import annotations

import random

import pytest

from meshconsole.core.errors import RemoteError
from meshconsole.core.kinds import DELETION, TEAM_NOTE
from meshconsole.mesh import comparing as comparing_module
from meshconsole.mesh.asked import Asked
from meshconsole.mesh.asks import TakeStep
from meshconsole.mesh.comparing import EVERY_S, GIVE_UP_S, LONGEST_S, MAX_ROUNDS, Comparing, Snapshot
from meshconsole.mesh.known import KnownIds
from meshconsole.mesh.messages import Compare, Compared
from meshconsole.mesh.taking import Taking
from meshconsole.relay.items import ItemVector
from tests.mesh.sync_pair import Pair, Side, id_of, make_event, make_pair


def share(pair: Pair, count: int, *, lacking_in_b: frozenset[int] = frozenset(), size: int = 300) -> None:
    """Events that both sides have from elsewhere, and that their cursors have passed over."""
    for number in range(count):
        raw = make_event(f"shared{number}", size=size)
        pair.a.store.add(raw)
        if number not in lacking_in_b:
            pair.b.store.add(raw)
    pair.b.store.cursors["log-a"] = pair.a.store.head
    pair.a.store.cursors["log-b"] = pair.b.store.head


def test_a_cursor_that_passed_over_events_does_not_hide_them() -> None:
    pair = make_pair()
    share(pair, 500, lacking_in_b=frozenset({3, 77, 401}))
    pair.connect()
    pair.settle()
    assert pair.b.store.ids == pair.a.store.ids
    assert pair.b.store.offered_again == pair.a.store.offered_again == 0
    assert pair.a.sync.serving.comparing.done == pair.b.sync.serving.comparing.done == 1
    assert pair.b.sync.taking.lag == pair.a.sync.taking.lag == 0


def test_equal_stores_are_compared_at_every_connect_for_few_bytes() -> None:
    pair = make_pair()
    share(pair, 3000)
    for _ in range(2):
        before = pair.bytes_carried
        pair.connect()
        pair.settle()
        assert pair.bytes_carried - before < 2500
        pair.cut()


def test_a_long_backlog_is_compared_instead_of_offered() -> None:
    pair = make_pair()
    share(pair, 6000, lacking_in_b=frozenset(random.Random(1).sample(range(6000), 60)))
    pair.b.store.cursors.clear()
    whole = sum(len(raw) for _, raw in pair.a.store.rows)
    missing = sum(len(raw) for _, raw in pair.a.store.rows if id_of(raw) not in pair.b.store.ids)
    pair.connect()
    pair.settle(within_s=0.0)
    assert pair.b.store.ids == pair.a.store.ids
    assert pair.b.store.cursors["log-a"] == pair.a.store.head
    assert pair.bytes_carried < missing + whole // 15


def test_what_was_written_while_stores_were_compared_comes_too() -> None:
    pair = make_pair()
    share(pair, 3000, lacking_in_b=frozenset(range(0, 3000, 9)))
    pair.b.store.cursors.clear()
    pair.connect()
    for number in range(400):
        pair.step()
        if number % 5 == 0:
            pair.a.write(make_event(f"fresh{number}"), pair.now)
    pair.settle()
    assert pair.b.store.ids == pair.a.store.ids
    assert pair.b.sync.taking.lag == 0


@pytest.mark.parametrize("cut_after", range(0, 420, 60))
def test_a_cut_while_the_cursor_is_about_to_jump_loses_nothing(cut_after: int) -> None:
    pair = make_pair()
    share(pair, 2600, lacking_in_b=frozenset(range(0, 2600, 5)))
    pair.b.store.cursors.clear()
    pair.connect()
    for _ in range(cut_after):
        pair.step()
    assert pair.b.store.cursors.get("log-a", 0) == 0 or pair.b.store.ids == pair.a.store.ids
    pair.cut()
    pair.b.reset()
    pair.connect()
    pair.settle()
    assert pair.b.store.ids == pair.a.store.ids


def test_deletions_go_before_what_else_is_lacking() -> None:
    pair = make_pair()
    share(pair, 1000, lacking_in_b=frozenset(range(200, 600)))
    deletion = make_event("gone", DELETION)
    pair.a.store.add(deletion)
    pair.b.store.cursors["log-a"] = pair.a.store.head
    pair.connect()
    held = len(pair.b.store.rows)
    pair.settle()
    assert pair.b.store.rows[held][1] == deletion


def test_a_relay_is_compared_with_in_sealed_kinds_only() -> None:
    pair = make_pair(role_of_b="relay")
    sealed = make_event("sealed", TEAM_NOTE)
    for raw in (sealed, *(make_event(f"plain{n}") for n in range(40))):
        pair.a.store.add(raw)
    pair.b.store.cursors["log-a"] = pair.a.store.head
    pair.connect()
    pair.settle()
    assert pair.b.store.ids == {id_of(sealed)}
    assert pair.b.sync.taking.lag == 0


def test_a_relay_that_becomes_a_member_gets_what_was_kept_from_it() -> None:
    pair = make_pair(role_of_b="relay")
    for number in range(40):
        pair.a.store.add(make_event(f"plain{number}"))
    pair.connect()
    pair.settle()
    assert not pair.b.store.ids
    pair.a.role_of_peer = "member"
    pair.a.sync.serving.doubt(pair.now)
    pair.settle()
    assert pair.b.store.ids == pair.a.store.ids


def test_what_the_peer_does_not_want_is_offered_once_and_then_less_and_less() -> None:
    pair = make_pair()
    share(pair, 200, lacking_in_b=frozenset({5}))
    (unwanted,) = pair.a.store.ids - pair.b.store.ids
    pair.b.sync.taking.settled.add(unwanted)
    pair.connect()
    pair.settle()
    comparing = pair.a.sync.serving.comparing
    assert comparing.due is not None
    first = comparing.due - pair.now
    assert EVERY_S < first < 3 * EVERY_S
    pair.settle(within_s=first + 1)
    assert unwanted not in pair.b.store.ids
    assert comparing.done == 2
    assert comparing.due is not None
    assert 2 * EVERY_S < comparing.due - pair.now < LONGEST_S


def test_a_store_too_large_to_be_compared_is_followed_by_its_log() -> None:
    pair = make_pair()
    pair.a.store.most = pair.b.store.most = 1000
    share(pair, 3000, lacking_in_b=frozenset(range(0, 3000, 7)))
    pair.b.store.cursors.clear()
    pair.connect()
    pair.settle()
    assert pair.b.store.ids == pair.a.store.ids
    assert pair.a.sync.serving.comparing.done == 0


def test_too_much_to_name_is_taken_from_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing_module, "MAX_LACKING", 100)
    pair = make_pair()
    share(pair, 400, lacking_in_b=frozenset(range(300)))
    pair.connect()
    pair.settle()
    assert pair.b.store.ids == pair.a.store.ids, "although the cursor stood at the end"
    assert pair.b.store.offered_again == 0


def test_a_peer_that_never_answers_does_not_hold_up_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = make_pair()
    share(pair, 2500, lacking_in_b=frozenset({1}))
    pair.b.store.cursors.clear()
    pair.b.store.most = -1
    monkeypatch.setattr(Taking, "compare", lambda _taking, _message: None)
    pair.connect()
    pair.settle(within_s=GIVE_UP_S + 60)
    assert pair.b.store.ids == pair.a.store.ids


def comparing_with(count: int) -> Comparing:
    comparing = Comparing(random.Random(1), lambda: False)
    items = ItemVector(sorted((n, bytes([n % 256]) * 31 + bytes([n // 256])) for n in range(count)))
    comparing.begin(1, 1, 0.0)
    comparing.asks.clear()
    assert comparing.gathered(1, Snapshot(9, items, frozenset()))
    return comparing


def test_an_answer_that_was_not_asked_for_breaks_the_protocol() -> None:
    comparing = comparing_with(100)
    assert comparing.answered(Compared(1, 1, b"\x61"))
    with pytest.raises(RemoteError, match="twice"):
        comparing.answered(Compared(1, 1, b"\x61"))
    assert comparing.answered(Compared(1, 7, b"\x61")), "an answer of another comparison means nothing"


def test_a_comparison_that_is_drawn_out_without_end_breaks_the_protocol() -> None:
    comparing = comparing_with(1000)
    endless = b"\x61\x00\x00\x01" + b"\xff" * 16
    with pytest.raises(RemoteError, match="without end"):  # noqa: PT012 - it takes many rounds
        for _ in range(MAX_ROUNDS + 1):
            assert comparing.answered(Compared(1, 1, endless))
            (ask,) = comparing.asks
            comparing.asks.clear()
            assert isinstance(ask, TakeStep)
            assert comparing.stepped(1, ask.initiator.receive(ask.data)) is None


def test_whoever_does_not_wait_for_the_answer_breaks_the_protocol() -> None:
    taking = Taking(KnownIds(), KnownIds(), Asked())
    taking.start("log", 10, 0)
    taking.compare(Compare(1, 1, sealed=False, data=b"\x61"))
    with pytest.raises(RemoteError, match="did not wait"):
        taking.compare(Compare(1, 1, sealed=False, data=b"\x61"))


def test_many_random_histories_end_in_equal_stores() -> None:
    for seed in range(6):
        rng = random.Random(seed)
        pair = Pair(Side(make_pair().a.store), Side(make_pair().b.store))
        for number in range(rng.choice((50, 400, 2200))):
            raw = make_event(f"{seed}/{number}", rng.choice((1, 1, 5, 4202)), rng.randrange(400))
            for side in (pair.a, pair.b):
                if rng.random() < 0.9:
                    side.store.add(raw, gap=rng.randrange(2))
        for side, other in ((pair.a, pair.b), (pair.b, pair.a)):
            side.store.cursors[other.store.log_id] = rng.randrange(other.store.head + 1)
        pair.connect()
        pair.settle()
        assert pair.a.store.ids == pair.b.store.ids, seed
        assert pair.a.store.offered_again == pair.b.store.offered_again == 0
        assert pair.a.sync.taking.lag == pair.b.sync.taking.lag == 0
