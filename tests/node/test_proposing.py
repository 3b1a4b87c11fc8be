"""What the proposer's device says of a proposal that waits no more."""

from __future__ import annotations

import pytest

from meshconsole.node.proposing import ending_of, lets_join
from meshconsole.team.ops import Policy
from tests.team.devices import NOW, Device, founder, identity, join, sync

PHONE = "ab" * 32


@pytest.fixture
def ruled() -> tuple[Device, Device]:
    alpha = founder()
    bravo = join(alpha, "bravo", "admin")
    alpha.say(alpha.team.set_policy(Policy(two_admins=True), NOW))
    sync(alpha, bravo)
    return alpha, bravo


def proposed(alpha: Device, bravo: Device) -> str:
    (event,) = alpha.say(alpha.team.admit_client(PHONE, "phone", "member", NOW))
    sync(alpha, bravo)
    return event.id


def test_an_agreement_is_told_with_who_agreed(ruled: tuple[Device, Device]) -> None:
    alpha, bravo = ruled
    proposal = proposed(alpha, bravo)
    assert not lets_join(bravo.team, proposal)
    bravo.say(bravo.team.agree(proposal, NOW))
    sync(alpha, bravo)
    ending = ending_of(alpha.team, proposal, alpha.npub)
    assert ending is not None
    assert ending.outcome == "agreed"
    assert ending.text.startswith("bravo has agreed: let the plain client phone")
    assert ending.remedy == ""


def test_who_waits_to_join_is_told_to_come_again(ruled: tuple[Device, Device]) -> None:
    alpha, bravo = ruled
    _, event = alpha.say(alpha.team.admit(identity().bundle_event(NOW), "delta", "member", NOW))
    sync(alpha, bravo)
    assert lets_join(bravo.team, event.id[:8])
    bravo.say(bravo.team.agree(event.id, NOW))
    sync(alpha, bravo)
    ending = ending_of(alpha.team, event.id, alpha.npub)
    assert ending is not None
    assert "team join" in ending.remedy


def test_a_refusal_is_told_to_the_other_admin_only(ruled: tuple[Device, Device]) -> None:
    alpha, bravo = ruled
    proposal = proposed(alpha, bravo)
    bravo.say(bravo.team.refuse(proposal, NOW))
    sync(alpha, bravo)
    ending = ending_of(alpha.team, proposal, alpha.npub)
    assert ending is not None
    assert ending.text.startswith("bravo has refused: ")
    (own,) = alpha.say(alpha.team.admit_client("cd" * 32, "another", "member", NOW))
    alpha.say(alpha.team.refuse(own.id, NOW))
    assert ending_of(alpha.team, own.id, alpha.npub) is None


@pytest.mark.parametrize("knowing", [True, False])
def test_a_proposal_that_the_turned_key_ended_is_told_as_that(
    ruled: tuple[Device, Device], *, knowing: bool
) -> None:
    """Whether whoever turned it closed it in the same entry, or this device has to, later."""
    alpha, bravo = ruled
    (event,) = alpha.say(alpha.team.admit_client(PHONE, "phone", "member", NOW))
    if knowing:
        bravo.hear(alpha)
    bravo.say(bravo.team.rotate(NOW))
    alpha.hear(bravo)
    assert alpha.team.proposals() == ()
    for _ in range(2):
        ending = ending_of(alpha.team, event.id, alpha.npub)
        assert ending is not None
        assert ending.outcome == "lapsed"
        assert "Propose it once more" in ending.remedy
        alpha.say(alpha.team.tend(NOW))
    alpha.restart()
    assert ending_of(alpha.team, event.id, alpha.npub) == ending
