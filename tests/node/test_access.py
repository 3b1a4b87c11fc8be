"""Which plain connections may carry what is sealed: the team's devices, while the relay is the team's."""

from __future__ import annotations

from meshconsole.core.sections import PrivacySection
from meshconsole.node.access import TeamAccess
from tests.relay.making import npub
from tests.team.devices import founder, join


def test_only_devices_of_the_team_may_and_only_at_a_relay_of_the_team() -> None:
    alice = founder()
    bravo = join(alice, "bravo")
    private = TeamAccess(PrivacySection, lambda: alice.team, alice.npub)
    assert private.is_device([bravo.npub])
    assert private.is_device([npub("stranger"), alice.npub])
    assert not private.is_device([])
    assert not private.is_device([npub("stranger")])
    alice.team.remove(bravo.npub, 1_800_000_000)
    assert not private.is_device([bravo.npub])
    public = TeamAccess(lambda: PrivacySection(share_with_team_only=False), lambda: alice.team, alice.npub)
    assert not public.is_device([alice.npub])
    assert not TeamAccess(PrivacySection, lambda: None, alice.npub).is_device([alice.npub])
