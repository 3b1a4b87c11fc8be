"""Which of the team's events a node stores and passes on, by the role of their author."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.core.errors import Refused
from meshconsole.core.kinds import (
    COURIER_RECEIPT,
    DIRECT_MESSAGE,
    EPOCH_GRANT,
    FILE_MANIFEST,
    HOLDINGS,
    TEAM_NOTE,
)
from meshconsole.team.entries import make_entry
from meshconsole.team.epochs import grant_address
from meshconsole.team.intake import MAX_COPIES, MAX_SPARE_BUNDLES, MAX_WAITING_BY_AUTHOR
from meshconsole.team.notes import seal_note
from meshconsole.team.ops import Add, Policy, Remove
from meshconsole.team.proposals import propose
from meshconsole.team.state import Team
from tests.team.devices import NOW, PROVIDER, Device, founder, identity, join

if TYPE_CHECKING:
    from meshconsole.core.event import Event

WRITTEN = [TEAM_NOTE, FILE_MANIFEST, DIRECT_MESSAGE]


@pytest.fixture
def alpha() -> Device:
    return founder()


def tagged(kid: str) -> tuple[tuple[str, ...], ...]:
    return (("h", "00"), ("k", kid))


def newest(device: Device) -> str:
    return device.team._roster.epochs_to_write()[0][0].kid


@pytest.mark.parametrize("kind", WRITTEN)
@pytest.mark.parametrize("role", ["observer", "relay"])
def test_what_a_device_writes_that_never_might_is_not_taken(alpha: Device, role: str, kind: int) -> None:
    bravo = join(alpha, "bravo", role)  # type: ignore[arg-type]
    for kid in (newest(alpha), "ab" * 8, ""):
        assert not alpha.team.admits(bravo.me.sign(kind, tagged(kid), "junk", NOW))


@pytest.mark.parametrize("kind", WRITTEN)
def test_members_and_admins_write(alpha: Device, kind: int) -> None:
    bravo = join(alpha, "bravo")
    for device in (alpha, bravo):
        assert alpha.team.admits(device.me.sign(kind, tagged(newest(alpha)), "text", NOW))
        assert alpha.team.admits(device.me.sign(kind, tagged("ab" * 8), "an epoch not heard of yet", NOW))
    assert not alpha.team.admits(identity().sign(kind, tagged(newest(alpha)), "a stranger's", NOW))


def test_a_note_from_before_a_removal_is_taken_and_one_under_a_later_key_is_not(alpha: Device) -> None:
    bravo = join(alpha, "bravo")
    before = seal_note(bravo.me, bravo.team._writing_key(), "in time", NOW)
    alpha.say(alpha.team.remove(bravo.npub, NOW))
    assert alpha.team.admits(before)
    for kid in (newest(alpha), "ab" * 8):
        assert not alpha.team.admits(bravo.me.sign(TEAM_NOTE, tagged(kid), "too late", NOW))


def test_a_note_of_an_observer_that_is_made_a_member_is_taken_once_that_is_known(alpha: Device) -> None:
    bravo, charlie = join(alpha, "bravo", "observer"), join(alpha, "charlie")
    charlie.hear(alpha)
    alpha.say(alpha.team.set_role(bravo.npub, "member", NOW))
    bravo.hear(alpha)
    note = bravo.team.seal_note("promoted", NOW)
    assert not charlie.team.admits(note)
    charlie.hear(alpha)
    assert charlie.team.admits(note)


def test_what_was_admitted_stays_so_when_the_admission_is_void_later(alpha: Device) -> None:
    """Else one node would hold what another refuses, and offer it for ever."""
    bravo = join(alpha, "bravo", "admin")
    charlie = join(bravo, "charlie")
    note = charlie.team.seal_note("from the far side", NOW)
    alpha.say(alpha.team.remove(bravo.npub, NOW))  # not knowing of charlie
    assert not alpha.team.admits(note)
    alpha.hear(charlie)
    assert alpha.team.role_of(charlie.npub) is None
    assert alpha.team.admits(note)


def test_only_devices_tell_of_holdings(alpha: Device) -> None:
    relay = join(alpha, "pi", "relay")
    for kind in (HOLDINGS, COURIER_RECEIPT):
        assert alpha.team.admits(relay.me.sign(kind, (("d", "15"),), "", NOW))
        assert not alpha.team.admits(identity().sign(kind, (("d", "15"),), "", NOW))
    for address in ("16", "01", "-1", "x", ""):
        with pytest.raises(Refused):
            alpha.team.admits(relay.me.sign(HOLDINGS, (("d", address),), "", NOW))


def test_grants_come_from_admins_or_are_their_authors_own(alpha: Device) -> None:
    bravo = join(alpha, "bravo")
    assert all(alpha.team.admits(event) for event in alpha.log.values())
    (real,) = (event for event in alpha.log.values() if event.kind == EPOCH_GRANT and _is_for(event, bravo))
    assert alpha.team.admits(bravo.me.sign(EPOCH_GRANT, real.tags, real.content, NOW))
    for address in (grant_address(alpha.team.team_id, newest(alpha), alpha.npub), "0" * 32):
        assert not alpha.team.admits(bravo.me.sign(EPOCH_GRANT, (("d", address),), real.content, NOW))
    with pytest.raises(Refused, match="not a key grant"):
        alpha.team.admits(alpha.me.sign(EPOCH_GRANT, real.tags, "junk" * 9000, NOW))


def _is_for(event: Event, device: Device) -> bool:
    return event.tag("d") == grant_address(device.team.team_id, newest(device), device.npub)


def test_a_device_that_says_its_keys_without_end_fills_no_store(alpha: Device) -> None:
    bravo = join(alpha, "bravo")
    taken = 0
    for later in range(1, MAX_COPIES + 5):
        bundle = bravo.me.bundle_event(NOW + later)
        if alpha.team.admits(bundle):
            taken += 1
            alpha.team.accept(bundle)
    assert taken == MAX_COPIES


def test_entries_and_proposals_by_who_never_governed_are_not_taken(alpha: Device) -> None:
    bravo = join(alpha, "bravo")
    entry = make_entry(bravo.me, alpha.team._roster.heads, [Policy(rotate_days=5)], NOW)
    assert not alpha.team.admits(entry)
    assert not alpha.team.admits(propose(bravo.me, alpha.team.team_id, 1, [Policy(rotate_days=5)], NOW))
    alpha.say(alpha.team.set_role(bravo.npub, "admin", NOW))
    assert alpha.team.admits(propose(bravo.me, alpha.team.team_id, 1, [Policy(rotate_days=5)], NOW))
    with pytest.raises(Refused, match="not an admin in the state"):
        alpha.team.admits(entry)  # it builds on what did not make it one: no later entry changes that


def test_entries_that_can_never_count_are_refused_for_good(alpha: Device) -> None:
    bravo = join(alpha, "bravo", "admin")
    heads = alpha.team._roster.heads
    with pytest.raises(Refused, match="rotate"):
        alpha.team.admits(make_entry(bravo.me, heads, [Remove(alpha.npub)], NOW))
    forged = make_entry(bravo.me, heads, [Policy(rotate_days=5)], NOW)
    other = make_entry(bravo.me, heads, [Policy(rotate_days=6)], NOW)
    with pytest.raises(Refused):
        alpha.team.admits(bravo.me.sign(forged.kind, other.tags, forged.content, NOW))
    with pytest.raises(Refused, match="another team"):
        alpha.team.admits(_genesis_by(alpha))
    assert alpha.team.admits(forged)


def _genesis_by(device: Device) -> Event:
    other, _ = Team.found(device.me, "Other", "alpha", NOW, PROVIDER)
    return other.genesis


def test_an_admin_that_invents_parents_fills_no_store(alpha: Device) -> None:
    bravo = join(alpha, "bravo", "admin")
    taken = 0
    for number in range(MAX_WAITING_BY_AUTHOR + 20):
        entry = make_entry(bravo.me, (f"{number:064x}",), [Policy(rotate_days=5)], NOW)
        if alpha.team.admits(entry):
            taken += 1
            alpha.team.accept(entry)
    assert taken == MAX_WAITING_BY_AUTHOR
    own = make_entry(alpha.me, alpha.team._roster.heads, [Policy(rotate_days=6)], NOW)
    assert alpha.team.admits(own), "the others' room is not used up"


def test_bundles_that_nobody_names_fill_no_store(alpha: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_SPARE_BUNDLES == 256
    monkeypatch.setattr("meshconsole.team.intake.MAX_SPARE_BUNDLES", 3)
    for _ in range(3):
        bundle = identity().bundle_event(NOW)
        assert alpha.team.admits(bundle)
        alpha.team.accept(bundle)
    late = identity()
    assert not alpha.team.admits(late.bundle_event(NOW))
    added = Add(late.npub, "late", "member", late.bundle_hash.hex())
    entry = make_entry(alpha.me, alpha.team._roster.heads, [added], NOW)
    assert alpha.team.accept(entry).accepted
    assert alpha.team.admits(late.bundle_event(NOW)), "an entry names it now"
