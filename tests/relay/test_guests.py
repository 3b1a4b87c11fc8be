"""Guests at the relay: what a browser that was let in may hear and say."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given

from meshconsole.core.kinds import GIFT_WRAP, TEAM_KINDS, VANISH
from meshconsole.core.sections import RelaySection
from meshconsole.core.verdict import ACCEPTED, Verdict, refuse
from meshconsole.relay.filter import Filter, matches
from meshconsole.relay.guests import MAX_NOTE, MAX_TAGS, is_of_the_room, name_in
from meshconsole.relay.judging import judge_event
from meshconsole.relay.lists import Lists, allow_key, ban_key
from meshconsole.relay.policy import Client, House, judge_filters, may_ask, may_offer, narrowed
from tests.relay.making import NOW, Members, Public, fake_npub, unsigned
from tests.relay.strategies import filters

ANNA, BOB = fake_npub("anna"), fake_npub("bob")
ROOM = (("h", "guests"), ("name", "Anna"))


@dataclass
class Here:
    npub: str = ANNA
    name: str = "Anna"
    verdict: Verdict = ACCEPTED

    def may_be_here(self) -> Verdict:
        return self.verdict


def guest(*npubs: str, house: House | None = None, here: Here | None = None) -> Client:
    return Client(house or House(Members({BOB})), npubs, guest=here or Here())


def code(event: object, client: Client) -> str:
    return judge_event(event, client, NOW).code  # type: ignore[arg-type]


@pytest.mark.parametrize("access", [Public(), Members({BOB})])
def test_the_key_that_was_let_in_must_be_proven_whoever_else_may_come(access: Public | Members) -> None:
    house = House(access)
    for gate in (may_offer, may_ask):
        assert gate(guest(house=house)).code == "auth-required"
        assert gate(guest(BOB, house=house)).code == "auth-required"
        assert gate(guest(ANNA, house=house)).accepted
        gone = Here(verdict=refuse("restricted", "no guest any more"))
        assert gate(guest(ANNA, house=house, here=gone)).code == "restricted"


def test_a_banned_key_is_no_guest_and_an_allowed_one_no_more_than_a_guest() -> None:
    assert may_ask(guest(ANNA, house=House(Public(), lists=lambda: ban_key(Lists(), ANNA)))).code == "blocked"
    allowed = House(Members(set()), lists=lambda: allow_key(Lists(), BOB))
    assert may_ask(guest(BOB, house=allowed)).code == "auth-required"


def test_a_guest_writes_its_own_notes_into_the_room() -> None:
    anna = guest(ANNA)
    assert code(unsigned("anna", tags=ROOM), anna) == ""
    assert code(unsigned("anna", tags=(*ROOM, ("e", "ab" * 32), ("expiration", "1900000000"))), anna) == ""
    assert code(unsigned("bob", tags=ROOM), guest(ANNA, BOB)) == "restricted"


@pytest.mark.parametrize(
    "tags",
    [
        (),
        ROOM[:1],
        ROOM[1:],
        (("h", "other"), ROOM[1]),
        (*ROOM, ("h", "other")),
        (*ROOM, ("h",)),
        (ROOM[0], ("name", "alpha")),
        (*ROOM, ("name", "alpha")),
    ],
)
def test_not_elsewhere_and_under_no_other_name(tags: tuple[tuple[str, ...], ...]) -> None:
    assert code(unsigned("anna", tags=tags), guest(ANNA)) == "restricted"


@pytest.mark.parametrize("kind", [0, 3, 5, 6, 7, 14, VANISH, GIFT_WRAP, 20001, 30023, *sorted(TEAM_KINDS)])
def test_nothing_but_notes(kind: int) -> None:
    tags = (*ROOM, ("relay", "ALL_RELAYS"), ("p", ANNA), ("d", ""))
    assert code(unsigned("anna", kind=kind, tags=tags), guest(ANNA)) == "restricted"


def test_notes_have_a_size() -> None:
    anna = guest(ANNA)
    assert code(unsigned("anna", tags=ROOM, content="é" * MAX_NOTE), anna) == ""
    assert code(unsigned("anna", tags=ROOM, content="é" * (MAX_NOTE + 1)), anna) == "invalid"
    assert code(unsigned("anna", tags=(*ROOM, *[("t", "x")] * MAX_TAGS)), anna) == "invalid"
    assert code(unsigned("anna", tags=(*ROOM, ("t", "x" * 300))), anna) == "invalid"


def test_the_owner_s_other_rules_hold_for_guests_too() -> None:
    house = House(Members({BOB}), RelaySection(min_pow_difficulty=20, authors="members"))
    assert code(unsigned("anna", tags=ROOM), guest(ANNA, house=house)) == "pow"
    house.config = RelaySection(authors="members")
    assert code(unsigned("anna", tags=ROOM), guest(ANNA, house=house)) == ""


@given(filters())
def test_whatever_a_guest_asks_it_sees_the_room_and_nothing_else(wanted: Filter) -> None:
    seen = narrowed(wanted, guest(ANNA))
    for kind in (0, 1, 3, 5, 7, GIFT_WRAP, 30023, *TEAM_KINDS):
        for tags in ((), (("h", "team"),), (("p", ANNA), ("h", "x"))):
            assert not matches(seen, unsigned("bob", kind=kind, tags=tags))
        if kind != 1:
            assert not matches(seen, unsigned("bob", kind=kind, tags=ROOM))
    note = unsigned("bob", tags=ROOM)
    if matches(wanted, note):
        assert matches(seen, note)


def test_a_question_that_brings_nothing_is_told_why() -> None:
    anna = guest(ANNA)
    assert judge_filters([Filter()], anna).accepted
    assert judge_filters([Filter(kinds=frozenset({1, 4202}))], anna).accepted
    assert judge_filters([Filter(kinds=frozenset({4202}))], anna).code == "restricted"
    assert judge_filters([Filter(tags=(("h", frozenset({"team"})),))], anna).code == "restricted"
    both = [Filter(kinds=frozenset({0})), Filter(tags=(("h", frozenset({"guests", "team"})),))]
    assert judge_filters(both, anna).accepted


def test_a_note_of_the_room_is_known_by_its_tag() -> None:
    assert is_of_the_room(unsigned("anna", tags=ROOM))
    assert not is_of_the_room(unsigned("anna", kind=7, tags=ROOM))
    assert not is_of_the_room(unsigned("anna"))
    assert (name_in(unsigned("anna", tags=ROOM)), name_in(unsigned("anna"))) == ("Anna", "")
