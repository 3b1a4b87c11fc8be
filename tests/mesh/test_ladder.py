"""The ladder: who is tried when, and what stays on record."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from meshconsole.mesh.attempts import MAX_ATTEMPTS
from meshconsole.mesh.ladder import (
    FIRST_S,
    LAST_S,
    MAX_CANDIDATES,
    MAX_DIALS,
    RECENT_LAST_S,
    RECENT_S,
    STRANGER_S,
    UNPROVEN_S,
    Ladder,
)

A, B = "10.0.0.1:7447", "10.0.0.2:7447"
NPUB, OTHER = "aa" * 32, "bb" * 32


def ladder() -> Ladder:
    return Ladder(Random(7))


def due(machine: Ladder, now: float) -> list[str]:
    return [candidate.address for candidate in machine.due(now)]


def fail(machine: Ladder, address: str, now: float, error: str = "no answer") -> float:
    """Dials and fails; returns how long the ladder waits then."""
    machine.started(address, now)
    machine.failed(address, error, now)
    return machine.candidates()[0].next_try - now


def test_what_is_new_is_due_at_once_and_not_twice() -> None:
    machine = ladder()
    machine.offer(A, "invite", 0.0)
    assert due(machine, 0.0) == [A]
    machine.started(A, 0.0)
    assert due(machine, 0.0) == []


def test_failures_back_off_to_a_limit_with_jitter() -> None:
    machine = ladder()
    machine.offer(A, "cached", 0.0)
    waits, now = [], 0.0
    for _ in range(12):
        waits.append(fail(machine, A, now))
        now += waits[-1]
    assert 0.75 * FIRST_S <= waits[0] <= 1.25 * FIRST_S
    assert all(0.75 * LAST_S <= wait <= 1.25 * LAST_S for wait in waits[-3:])
    assert len({round(wait, 3) for wait in waits[-3:]}) > 1


def test_one_seed_gives_one_timetable() -> None:
    tables = []
    for _ in range(2):
        machine = Ladder(Random(99))
        machine.offer(A, "cached", 0.0)
        tables.append([fail(machine, A, float(now)) for now in range(5)])
    assert tables[0] == tables[1]


def test_the_record_tells_why_and_when_next() -> None:
    machine = ladder()
    machine.offer(A, "cached", 0.0, npub=NPUB)
    fail(machine, A, 5.0, "connection refused")
    (candidate,) = machine.candidates(NPUB)
    assert (candidate.last_error, candidate.last_try, candidate.attempts) == ("connection refused", 5.0, 1)
    assert candidate.next_try > 5.0


def test_a_stranger_is_left_alone_for_long() -> None:
    machine = ladder()
    machine.offer(A, "mdns", 0.0)
    machine.started(A, 0.0)
    machine.stranger(A, "not known", 0.0)
    assert machine.candidates()[0].next_try >= 0.75 * STRANGER_S
    machine.offer(A, "mdns", 10.0)
    assert due(machine, 20.0) == [], "showing itself again does not help a stranger"


def test_a_roster_change_gives_strangers_another_chance() -> None:
    machine = ladder()
    machine.offer(A, "mdns", 0.0)
    machine.started(A, 0.0)
    machine.stranger(A, "not known", 0.0)
    machine.roster_changed(10.0)
    assert due(machine, 10.0 + 2 * FIRST_S) == [A]


def test_an_address_without_the_teams_mark_waits() -> None:
    machine = ladder()
    machine.offer(A, "mdns", 0.0, is_proven=False)
    assert due(machine, 0.7 * UNPROVEN_S) == []
    assert due(machine, 1.3 * UNPROVEN_S) == [A]


def test_a_peer_that_is_linked_is_not_dialled() -> None:
    machine = ladder()
    machine.offer(A, "cached", 0.0, npub=NPUB)
    machine.offer(B, "mdns", 0.0)
    machine.peer_up(NPUB)
    assert due(machine, 1e6) == [B]
    assert machine.next_timer() == 0.0


def test_after_a_link_is_lost_what_worked_is_tried_soon() -> None:
    machine = ladder()
    machine.offer(A, "cached", 0.0, npub=NPUB)
    machine.started(A, 0.0)
    machine.linked(A, NPUB, 0.0)
    machine.peer_up(NPUB)
    assert due(machine, 100.0) == []
    machine.peer_down(NPUB, 100.0)
    assert due(machine, 100.0 + FIRST_S) == [A]


def test_links_that_do_not_last_are_made_again_ever_more_slowly() -> None:
    machine, now, waits = ladder(), 0.0, []
    machine.offer(A, "cached", now, npub=NPUB)
    for _ in range(6):
        machine.started(A, now)
        machine.linked(A, NPUB, now)
        machine.peer_up(NPUB)
        now += 0.2
        machine.peer_down(NPUB, now)
        waits.append(machine.candidates()[0].next_try - now)
        now += waits[-1]
    assert waits[0] <= FIRST_S
    assert waits[-1] > 8 * FIRST_S
    machine.started(A, now)
    machine.linked(A, NPUB, now)
    machine.peer_up(NPUB)
    machine.peer_down(NPUB, now + 3600)
    assert machine.candidates()[0].next_try - now - 3600 <= FIRST_S, "a link that lasted is forgiven"


def test_the_addresses_of_one_device_are_tried_one_after_the_other() -> None:
    machine = ladder()
    for address in (A, B):
        machine.offer(address, "mdns", 0.0, group="device")
    assert due(machine, 0.0) == [A]
    fail(machine, A, 0.0)
    assert due(machine, 0.0) == [B]
    machine.started(B, 0.0)
    machine.linked(B, NPUB, 0.0)
    machine.peer_up(NPUB)
    assert due(machine, 1e6) == [], "A belongs to the same device"


def test_no_more_than_some_dials_at_once() -> None:
    machine = ladder()
    for number in range(20):
        machine.offer(f"10.0.1.{number}:1", "mdns", 0.0)
    batch = due(machine, 0.0)
    assert len(batch) == MAX_DIALS
    for address in batch:
        machine.started(address, 0.0)
    assert due(machine, 0.0) == []
    machine.failed(batch[0], "no", 0.0)
    assert len(due(machine, 0.0)) == 1


def test_a_network_change_makes_failures_due_again() -> None:
    machine = ladder()
    machine.offer(A, "cached", 0.0)
    now = 0.0
    for _ in range(8):
        now += fail(machine, A, now)
    machine.network_changed(now)
    assert due(machine, now + FIRST_S) == [A]


def test_a_device_that_shows_itself_again_is_tried_soon() -> None:
    machine = ladder()
    machine.offer(A, "mdns", 0.0)
    for now in range(8):
        fail(machine, A, float(now))
    machine.offer(A, "mdns", 10.0)
    assert due(machine, 10.0 + 2 * FIRST_S) == [A]


def test_its_own_address_is_never_dialled_again_on_the_same_network() -> None:
    machine = ladder()
    machine.offer(A, "mdns", 0.0)
    machine.started(A, 0.0)
    machine.is_self(A, 1.0)
    assert due(machine, 1e9) == []
    machine.network_changed(5.0)
    assert due(machine, 5.0 + FIRST_S) == [A], "another machine may have the address now"


def test_a_flood_of_addresses_pushes_out_only_what_never_worked() -> None:
    machine = ladder()
    machine.offer(A, "cached", 0.0, npub=NPUB)
    machine.started(A, 0.0)
    machine.linked(A, NPUB, 0.0)
    for number in range(3 * MAX_CANDIDATES):
        machine.offer(f"host{number}:1", "mdns", 1.0 + number)
    assert len(machine.candidates()) <= MAX_CANDIDATES
    assert machine.candidates(NPUB)


def test_goodbye_takes_back_only_what_never_worked() -> None:
    machine = ladder()
    for address in (A, B):
        machine.offer(address, "mdns", 0.0)
    machine.started(A, 0.0)
    machine.linked(A, NPUB, 0.0)
    machine.withdraw(A)
    machine.withdraw(B)
    assert [c.address for c in machine.candidates()] == [A]


def test_an_address_can_pass_to_another_device() -> None:
    machine = ladder()
    machine.offer(A, "cached", 0.0, npub=NPUB)
    machine.started(A, 0.0)
    machine.linked(A, OTHER, 0.0)
    assert machine.candidates(NPUB) == ()
    assert machine.candidates(OTHER)[0].address == A


acts = st.sampled_from(["offer", "dial", "fail", "link", "stranger", "down", "net", "wait"])
steps = st.lists(st.tuples(acts, st.integers(0, 9)), max_size=60)


@given(steps, st.integers(0, 1000))
def test_whatever_happens_the_laws_hold(script: list[tuple[str, int]], seed: int) -> None:
    machine, now = Ladder(Random(seed)), 0.0
    trying: set[str] = set()
    for act, number in script:
        address, npub = f"h{number}:1", f"{number % 3}" * 64
        known = {c.address for c in machine.candidates()}
        if act == "offer":
            machine.offer(address, "mdns", now, npub=npub if number % 2 else "")
        elif act == "dial":
            for found in due(machine, now):
                assert found not in trying
                machine.started(found, now)
                trying.add(found)
        elif act == "down":
            machine.peer_down(npub, now)
        elif act == "net":
            machine.network_changed(now)
        elif act == "wait":
            now += number
        elif address in trying and address in known:
            trying.discard(address)
            if act == "fail":
                machine.failed(address, "no", now)
            elif act == "stranger":
                machine.stranger(address, "no", now)
            else:
                machine.linked(address, npub, now)
                machine.peer_up(npub)
        assert len(trying) <= MAX_DIALS
        timer = machine.next_timer()
        if due(machine, now):
            assert timer is not None
            assert timer <= now


def link_up(machine: Ladder, now: float) -> None:
    machine.offer(A, "cached", now, npub=NPUB)
    machine.started(A, now)
    machine.linked(A, NPUB, now)
    machine.peer_up(NPUB)


def test_a_peer_that_fell_silent_is_dialled_anew_and_often() -> None:
    machine = ladder()
    link_up(machine, 0.0)
    assert due(machine, 50.0) == []
    machine.peer_silent(NPUB, 100.0)
    assert due(machine, 100.0) == [A]
    now = 100.0
    while now < 100.0 + RECENT_S:
        wait = fail(machine, A, now)
        assert wait <= 1.25 * RECENT_LAST_S
        now += wait + 1.0
    waits = [fail(machine, A, now) for _ in range(2)]
    assert all(wait > 0.75 * LAST_S for wait in waits), "by then it is gone for long"


def test_a_link_that_never_was_stable_is_not_dialled_often() -> None:
    machine = ladder()
    link_up(machine, 0.0)
    machine.peer_down(NPUB, 2.0)
    assert [fail(machine, A, 10.0) > 2 * FIRST_S for _ in range(4)][-1]


def test_who_was_there_lately_is_not_waited_for_long_but_now_and_then() -> None:
    machine = ladder()
    link_up(machine, 0.0)
    assert not machine.is_hurried(A, 50.0)
    machine.peer_silent(NPUB, 100.0)
    hurried = []
    for number in range(6):
        hurried.append(machine.is_hurried(A, 100.0 + number))
        fail(machine, A, 100.0 + number)
    assert hurried == [True, True, False] * 2
    assert not machine.is_hurried(A, 100.0 + RECENT_S)


def test_silence_of_a_peer_without_a_link_is_no_news() -> None:
    machine = ladder()
    link_up(machine, 0.0)
    machine.peer_down(NPUB, 60.0)
    before = machine.candidates()[0].next_try
    machine.peer_silent(NPUB, 61.0)
    assert machine.candidates()[0].next_try == before


def test_every_attempt_is_on_record_with_its_rung_and_outcome() -> None:
    machine = ladder()
    machine.offer(A, "beacon", 0.0, npub=NPUB)
    machine.offer(B, "mdns", 0.0)
    machine.started(A, 1.0)
    machine.failed(A, "no answer", 6.0)
    machine.started(B, 7.0)
    machine.stranger(B, "not of this team", 7.5)
    machine.started(A, 8.0)
    machine.linked(A, NPUB, 8.25)
    newest, older = machine.attempts.of(NPUB)
    assert (newest.source, newest.at, newest.outcome, newest.took_s) == ("beacon", 8.0, "linked", 0.25)
    assert (older.outcome, older.error, older.took_s) == ("failed", "no answer", 5.0)
    assert [a.outcome for a in machine.attempts.of()] == ["linked", "stranger", "failed"]


def test_the_record_is_bounded() -> None:
    machine = ladder()
    machine.offer(A, "cached", 0.0)
    for number in range(2 * MAX_ATTEMPTS):
        fail(machine, A, float(number))
    assert len(machine.attempts.of()) == MAX_ATTEMPTS


def test_a_stranger_who_names_a_thousand_addresses_delays_nobody_and_drives_nobody_out() -> None:
    machine = ladder()
    machine.offer(A, "invite", 0.0)
    for number in range(1000):
        machine.offer(f"10.1.{number // 250}.{number % 250}:1", "mdns", 1.0, is_proven=False)
    assert len(machine.candidates()) == MAX_CANDIDATES
    now = 1.0 + 2 * UNPROVEN_S
    machine.offer(B, "beacon", now, npub=NPUB)
    first = machine.due(now)
    assert {c.address for c in first[:2]} == {A, B}
    assert sum(not c.is_proven for c in first) == MAX_DIALS // 2
    for candidate in first:
        machine.started(candidate.address, now)
    assert machine.due(now) == []
