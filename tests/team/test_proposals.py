"""Two admins with real keys: proposals, consents inside entries, and what somebody may try with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from meshconsole.core.errors import Refused
from meshconsole.core.kinds import EPOCH_GRANT, KEY_BUNDLE, PROPOSAL, ROSTER_ENTRY
from meshconsole.crypto.bundle import open_bundle
from meshconsole.crypto.identity import Identity
from meshconsole.crypto.suites import MC1, MC2
from meshconsole.team.entries import make_entry
from meshconsole.team.ops import AdmitClient, Body, Consent, Policy, Remove
from meshconsole.team.proposals import MAX_HELD_BY_AUTHOR, ProposalBook, propose, read_proposal
from meshconsole.team.state import Team
from tests.team.devices import NOW, PROVIDER, Device, founder, identity, join, sync

if TYPE_CHECKING:
    from meshconsole.core.event import Event
    from meshconsole.crypto.suites import Suite

PHONE = "ab" * 32


def ruled() -> tuple[Device, Device, Device]:
    """Three admins under the rule."""
    alpha = founder()
    bravo, charlie = join(alpha, "bravo", "admin"), join(alpha, "charlie", "admin")
    sync(alpha, bravo, charlie)
    alpha.say(alpha.team.set_policy(Policy(two_admins=True), NOW))
    sync(alpha, bravo, charlie)
    return alpha, bravo, charlie


def test_a_device_is_let_in_when_another_admin_agrees() -> None:
    alpha, bravo, _ = ruled()
    me = identity()
    proposed = alpha.say(alpha.team.admit(me.bundle_event(NOW), "delta", "member", NOW))
    assert [event.kind for event in proposed][1:] == [PROPOSAL]
    assert "delta" not in alpha.roles()
    assert alpha.team.admit(me.bundle_event(NOW), "delta", "member", NOW)[1] == proposed[1]  # asked again
    with pytest.raises(Refused, match="another admin"):
        alpha.team.agree(proposed[1].id, NOW)
    bravo.hear(alpha)
    (proposal,) = bravo.team.proposals()
    bravo.say(bravo.team.agree(proposal.id[:8], NOW))
    alpha.hear(bravo)
    assert alpha.roles()["delta"] == "member"
    assert alpha.team.proposals() == bravo.team.proposals() == ()
    delta = Team.load(me, list(bravo.log.values()), PROVIDER, alpha.team.team_id)
    assert delta is not None
    assert delta.open_note(alpha.team.seal_note("welcome", NOW)).text == "welcome"
    assert bravo.restart().proposals() == ()
    assert bravo.roles() == alpha.roles()


@pytest.mark.parametrize("suite", [MC1, MC2], ids=lambda suite: suite.name)
def test_it_works_under_either_suite(suite: Suite) -> None:
    first, second = (Identity.generate(suite, PROVIDER) for _ in range(2))
    team, events = Team.found(first, "Falcon", "alpha", NOW, PROVIDER)
    alpha = Device(first, team)
    alpha.say(events)
    bravo = join(alpha, "bravo", "admin", second)
    alpha.say(alpha.team.set_policy(Policy(two_admins=True), NOW))
    alpha.say(alpha.team.admit_client(PHONE, "phone", "member", NOW))
    bravo.hear(alpha)
    bravo.say(bravo.team.agree("", NOW))
    alpha.hear(bravo)
    assert [client.npub for client in alpha.team.clients()] == [PHONE]


def test_a_replacement_and_a_rule_are_agreed_on_and_turn_the_key_where_they_must() -> None:
    alpha, bravo, charlie = ruled()
    me = identity()
    alpha.say(alpha.team.admit(me.bundle_event(NOW), "new", "admin", NOW, charlie.npub))
    bravo.hear(alpha)
    made = bravo.say(bravo.team.agree("", NOW))
    alpha.hear(bravo)
    assert sum(event.kind == EPOCH_GRANT for event in made) == 3
    assert alpha.team.epoch == 2
    assert alpha.team.role_of(charlie.npub) is None
    assert alpha.team.role_of(me.npub) == "admin"
    alpha.say(alpha.team.set_policy(Policy(two_admins=False), NOW))
    bravo.hear(alpha)
    bravo.say(bravo.team.agree("", NOW))
    alpha.hear(bravo)
    assert not alpha.team.rules.two_admins
    alpha.say(alpha.team.admit_client(PHONE, "phone", "member", NOW))
    assert alpha.team.clients()


def test_what_takes_rights_away_is_done_at_once() -> None:
    alpha, bravo, charlie = ruled()
    alpha.say(alpha.team.remove(charlie.npub, NOW))
    alpha.say(alpha.team.set_role(bravo.npub, "observer", NOW))
    alpha.say(alpha.team.rotate(NOW))
    assert alpha.roles() == {"alpha": "admin", "bravo": "observer"}


def test_a_refused_proposal_is_gone_for_everybody() -> None:
    alpha, bravo, charlie = ruled()
    alpha.say(alpha.team.admit_client(PHONE, "phone", "member", NOW))
    sync(alpha, bravo, charlie)
    kept = bravo.team.proposals()[0]
    charlie.say(charlie.team.refuse(kept.id, NOW))
    bravo.say(bravo.team._amend(list(kept.ops), NOW, second=kept.consent))  # captured, or just out of touch
    sync(alpha, bravo, charlie)
    for device in (alpha, bravo, charlie):
        assert device.team.proposals() == ()
        assert device.team.clients() == ()
        with pytest.raises(Refused, match="No open proposals"):
            device.team.agree(kept.id, NOW)


def test_a_new_epoch_ends_what_was_proposed_before_for_good() -> None:
    alpha, bravo, charlie = ruled()
    alpha.say(alpha.team.admit_client(PHONE, "phone", "member", NOW))
    sync(alpha, bravo, charlie)
    kept, before = bravo.team.proposals()[0], bravo.team._roster.heads
    charlie.say(charlie.team.rotate(NOW))
    bravo.hear(charlie)
    assert bravo.team.proposals() == ()
    back_dated = make_entry(bravo.me, before, kept.ops, NOW, kept.consent)
    assert bravo.team.accept(back_dated).accepted
    assert bravo.team.clients() == ()


def test_the_proposers_device_closes_what_ended_in_another_partition() -> None:
    alpha, bravo, charlie = ruled()
    alpha.say(alpha.team.admit_client(PHONE, "phone", "member", NOW))
    bravo.hear(alpha)
    kept, before = bravo.team.proposals()[0], bravo.team._roster.heads
    charlie.say(charlie.team.rotate(NOW))  # knows nothing of it
    alpha.hear(charlie)
    assert [event.kind for event in alpha.say(alpha.team.tend(NOW))] == [ROSTER_ENTRY]
    assert alpha.team.tend(NOW) == []
    back_dated = make_entry(bravo.me, before, kept.ops, NOW, kept.consent)
    alpha.team.accept(back_dated)
    assert alpha.team.clients() == ()


def forged(device: Device, ops: tuple[AdmitClient, ...], consent: Consent) -> Event:
    return make_entry(device.me, device.team._roster.heads, ops, NOW, consent)


def test_a_consent_is_good_for_nothing_else() -> None:
    alpha, bravo, _ = ruled()
    (proposal,) = alpha.say(alpha.team.admit_client(PHONE, "phone", "observer", NOW))
    good = read_proposal(proposal, alpha.team.team_id)
    other = AdmitClient(PHONE, "phone", "member")
    replace = msgspec.structs.replace
    attempts = [
        ((other,), good.consent),
        ((*good.ops, AdmitClient("cd" * 32, "more", "member")), good.consent),
        (good.ops, replace(good.consent, epoch=2)),
        (good.ops, replace(good.consent, created_at=NOW + 1)),
        (good.ops, replace(good.consent, npub=bravo.npub)),
        (good.ops, replace(good.consent, sig="0" * 128)),
        (good.ops, replace(good.consent, pqsig="A" * len(good.consent.pqsig))),
        (good.ops, replace(good.consent, pqsig="")),
    ]
    for ops, consent in attempts:
        verdict = bravo.team.accept(forged(bravo, ops, consent))  # type: ignore[arg-type]
        assert not verdict.accepted
    assert bravo.team.accept(forged(bravo, good.ops, good.consent)).accepted  # type: ignore[arg-type]


def test_a_consent_for_another_team_is_none() -> None:
    alpha, bravo, _ = ruled()
    ops = (AdmitClient(PHONE, "phone", "member"),)
    foreign = propose(alpha.me, bytes(32), 1, ops, NOW)
    verdict = bravo.team.accept(forged(bravo, ops, read_proposal(foreign, bytes(32)).consent))
    assert not verdict.accepted
    assert not bravo.team.accept(foreign).accepted


def test_an_entry_waits_for_the_second_admins_keys() -> None:
    alpha, bravo, charlie = ruled()
    charlie.say(charlie.team.admit_client(PHONE, "phone", "member", NOW))
    bravo.hear(charlie)
    bravo.say(bravo.team.agree("", NOW))
    (keys,) = [e for e in bravo.log.values() if (e.kind, e.pubkey) == (KEY_BUNDLE, charlie.npub)]
    team = Team.load(alpha.me, [e for e in bravo.log.values() if e != keys], PROVIDER, alpha.team.team_id)
    assert team is not None
    assert team.clients() == ()
    team.accept(keys)
    assert [client.npub for client in team.clients()] == [PHONE]


def test_proposals_of_those_who_are_no_admins_are_not_listed() -> None:
    alpha, bravo, charlie = ruled()
    delta = identity()
    made = [
        propose(delta, alpha.team.team_id, 1, (AdmitClient(PHONE, "x", "member"),), NOW),
        propose(charlie.me, alpha.team.team_id, 1, (AdmitClient(PHONE, "y", "member"),), NOW),
    ]
    for event in made:
        assert alpha.team.accept(event).accepted  # as a shape; it counts for nothing yet
    assert [p.npub for p in alpha.team.proposals()] == [charlie.npub]
    alpha.team.remove(charlie.npub, NOW)
    assert alpha.team.proposals() == ()
    del bravo


def test_what_is_remembered_is_bounded_by_author() -> None:
    me, team = identity(), bytes(32)
    book = ProposalBook(team)
    for n in range(MAX_HELD_BY_AUTHOR + 5):
        book.offer(propose(me, team, 1, (Policy(rotate_days=1 + n),), NOW))
    keys = open_bundle(me.bundle_event(NOW), PROVIDER)
    assert len(book.signed(lambda _: keys, MC1, PROVIDER)) == MAX_HELD_BY_AUTHOR


def test_entries_without_a_second_admin_are_written_as_before() -> None:
    body = Body(1, 1, ("0" * 64,), (Remove("1" * 64),))
    assert b"second" not in msgspec.json.encode(body)
