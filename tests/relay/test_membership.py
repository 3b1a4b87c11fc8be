"""NIP-43: what is told, and what clients are answered."""

from __future__ import annotations

import pytest

from meshconsole.core import kinds
from meshconsole.mesh.peer import kinds_for
from meshconsole.relay import lists as acts
from meshconsole.relay import membership
from meshconsole.relay.filter import Filter
from meshconsole.relay.judging import judge_event
from meshconsole.relay.lists import Lists
from meshconsole.relay.policy import Client, House, judge_filters
from tests.relay.making import NOW, Members, Public, fake_npub, unsigned

ALICE = fake_npub("alice")
PROTECTED = (("-",),)
TOLD = sorted(kinds.MEMBERSHIP_KINDS)


def house(own: str = "") -> House:
    return House(Members({ALICE}), npub=own)


def test_a_list_names_members_with_their_roles_and_guests_without() -> None:
    told = membership.list_event({"b": "admin", "a": ""})
    assert told.kind == kinds.MEMBERS
    assert told.tags == (("-",), ("member", "a"), ("member", "b", "admin"))
    assert membership.listed(unsigned(kind=told.kind, tags=told.tags)) == {"b": "admin", "a": ""}


def test_a_list_is_bounded() -> None:
    told = membership.list_event({f"{n:064x}": "member" for n in range(5000)})
    assert len(told.tags) == 1 + membership.MAX_LISTED


def test_changes() -> None:
    told = membership.change_events({"a": "admin", "b": ""}, {"b": "member", "c": ""})
    assert [(one.kind, one.tags) for one in told] == [
        (kinds.MEMBER_ADDED, (("-",), ("p", "c"))),
        (kinds.MEMBER_REMOVED, (("-",), ("p", "a"))),
    ]


@pytest.mark.parametrize("kind", TOLD)
@pytest.mark.parametrize("trusted", [True, False])
def test_nobody_else_tells_of_members(kind: int, trusted: bool) -> None:
    client = Client(house(fake_npub("relay")), npubs=(ALICE,), trusted=trusted)
    verdict = judge_event(unsigned("alice", kind, PROTECTED), client, NOW)
    assert verdict.code == "restricted"
    own = unsigned("relay", kind, PROTECTED)
    assert judge_event(own, Client(client.house, trusted=True), NOW).accepted


@pytest.mark.parametrize("kind", TOLD)
@pytest.mark.parametrize("role", ["admin", "member", "observer", "relay"])
def test_no_other_node_is_sent_them(kind: int, role: str) -> None:
    assert not kinds_for(role)(kind)
    assert kinds_for(role)(kinds.ROSTER_ENTRY)


def join(client: Client) -> tuple[bool, str]:
    verdict = judge_event(unsigned("alice", kinds.JOIN_REQUEST, (("-",), ("claim", "x"))), client, NOW)
    return verdict.accepted, verdict.message


def test_a_claim_makes_nobody_a_member() -> None:
    stranger = Client(House(Public()), npubs=(ALICE,))
    accepted, message = join(stranger)
    assert not accepted
    assert message.startswith("restricted: ")
    assert "team join" in message


def test_who_belongs_is_told_so() -> None:
    expected = (True, "duplicate: you are already a member of this relay")
    assert join(Client(house(), npubs=(ALICE,))) == expected
    guests = acts.allow_key(Lists(), ALICE)
    assert join(Client(House(Members(set()), lists=lambda: guests), npubs=(ALICE,))) == expected


def test_leaving_is_the_rosters_matter() -> None:
    event = unsigned("alice", kinds.LEAVE_REQUEST, PROTECTED)
    assert judge_event(event, Client(house(), npubs=(ALICE,)), NOW).code == "restricted"


def test_invites_are_not_given_out() -> None:
    client = Client(house(), npubs=(ALICE,))
    asked = Filter(kinds=frozenset({kinds.RELAY_INVITE}))
    assert judge_filters([asked], client).code == "restricted"
    assert judge_filters([asked, Filter()], client).accepted
