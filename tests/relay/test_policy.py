from __future__ import annotations

import pytest

from meshconsole.core.kinds import TEAM_KINDS
from meshconsole.relay.filter import Filter
from meshconsole.relay.policy import Client, judge_event, judge_filters, may_ask, may_offer, narrowed
from tests.relay.making import Members, Public, fake_npub, raw, unsigned

ALICE = fake_npub("alice")
STRANGER = Client(Public())
PROTECTED = unsigned(tags=(("-",),))


def code(event: object, client: Client) -> str:
    verdict = judge_event(event, client)  # type: ignore[arg-type]
    assert verdict.accepted == (verdict.code == "")
    return verdict.code


def test_gates_ask_for_proven_keys() -> None:
    access = Members({ALICE})
    for gate in (may_offer, may_ask):
        assert gate(Client(access)).code == "auth-required"
        assert gate(Client(access, (fake_npub("bob"),))).code == "restricted"
        assert gate(Client(access, (fake_npub("bob"), ALICE))).accepted
        assert gate(Client(access, trusted=True)).accepted


def test_logins_are_never_published() -> None:
    for client in (STRANGER, Client(Public(), trusted=True)):
        assert code(unsigned(kind=22242), client) == "invalid"


def test_protected_events_come_from_their_author() -> None:
    assert code(PROTECTED, STRANGER) == "auth-required"
    assert code(PROTECTED, Client(Public(), (fake_npub("bob"),))) == "restricted"
    assert code(PROTECTED, Client(Public(), (fake_npub("bob"), ALICE))) == ""
    assert code(PROTECTED, Client(Public(), trusted=True)) == ""


@pytest.mark.parametrize("kind", [6, 16])
def test_reposts_must_not_embed_protected_events(kind: int) -> None:
    assert code(unsigned(kind=kind, content=raw(PROTECTED).decode()), STRANGER) == "blocked"
    assert code(unsigned(kind=kind, content=raw(unsigned()).decode()), STRANGER) == ""
    assert code(unsigned(kind=kind, content='not JSON "-"'), STRANGER) == ""
    assert code(unsigned(kind=kind, content='{"tags":' + "[" * 9999 + '"-"'), STRANGER) == ""
    assert code(unsigned(kind=kind, content=""), STRANGER) == ""
    assert code(unsigned(kind=1, content=raw(PROTECTED).decode()), STRANGER) == ""


@pytest.mark.parametrize("kind", sorted(TEAM_KINDS))
def test_team_kinds_need_a_link(kind: int) -> None:
    assert code(unsigned(kind=kind), Client(Public(), (ALICE,))) == "restricted"
    assert code(unsigned(kind=kind), Client(Public(), trusted=True)) == ""
    assert not judge_filters([Filter(kinds=frozenset({kind}))], STRANGER).accepted
    assert judge_filters([Filter(kinds=frozenset({kind}))], Client(Public(), trusted=True)).accepted


def test_wider_filters_leave_team_kinds_out() -> None:
    mixed = Filter(kinds=frozenset({1, *TEAM_KINDS}))
    assert judge_filters([Filter()], STRANGER).accepted
    assert judge_filters([mixed], STRANGER).accepted
    assert judge_filters([Filter(kinds=TEAM_KINDS), Filter()], STRANGER).accepted
    assert judge_filters([Filter(kinds=frozenset())], STRANGER).accepted
    assert narrowed(mixed, STRANGER).hidden == TEAM_KINDS
    assert narrowed(mixed, Client(Public(), trusted=True)) == mixed
