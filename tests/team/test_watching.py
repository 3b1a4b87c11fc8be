"""What somebody learns who watches sealed events pass by, or who can break one half of the hybrid KEM."""

from __future__ import annotations

import random

import pytest

from meshconsole.core.errors import Refused
from meshconsole.core.event import Event, encode_event
from meshconsole.core.kinds import EPOCH_GRANT
from meshconsole.crypto.encoding import b64, unb64
from meshconsole.team.epochs import open_grant
from tests.team.devices import NOW, Device, founder

ML_KEM_CIPHERTEXT = 1088
X_WING_CIPHERTEXT = ML_KEM_CIPHERTEXT + 32


@pytest.fixture
def alpha() -> Device:
    return founder()


def outside(event: Event) -> set[str]:
    return {value for tag in event.tags for value in tag[1:]}


def test_short_notes_have_one_size_and_all_sizes_fall_into_few_classes(alpha: Device) -> None:
    short = {len(encode_event(alpha.team.seal_note("x" * length, NOW))) for length in (1, 17, 200, 489, 490)}
    assert len(short) == 1
    dice = random.Random(1)
    sizes = {len(alpha.team.seal_note("x" * dice.randint(1, 16_000), NOW).content) for _ in range(300)}
    assert len(sizes) <= 64, "sixteen to a doubling"


def test_notes_of_two_epochs_share_nothing_outside_but_their_author(alpha: Device) -> None:
    one, again = alpha.team.seal_note("same", NOW), alpha.team.seal_note("same", NOW)
    assert outside(one) == outside(again)
    assert one.content != again.content
    alpha.say(alpha.team.rotate(NOW))
    assert not outside(one) & outside(alpha.team.seal_note("same", NOW))


def test_two_teams_of_one_device_share_nothing_outside(alpha: Device) -> None:
    other = founder()
    assert not outside(alpha.team.seal_note("same", NOW)) & outside(other.team.seal_note("same", NOW))


@pytest.mark.parametrize("half", [slice(0, ML_KEM_CIPHERTEXT), slice(ML_KEM_CIPHERTEXT, X_WING_CIPHERTEXT)])
@pytest.mark.parametrize("by", ["zeros", "another"])
def test_neither_half_of_the_hybrid_kem_opens_a_grant_alone(alpha: Device, half: slice, by: str) -> None:
    """MC1: whoever replaces one half, having broken it, and leaves the other, ends with another key."""
    record = alpha.team._roster.epochs()[0]
    grant = next(event for event in alpha.log.values() if event.kind == EPOCH_GRANT)
    wrapped = bytearray(unb64(grant.content))
    other = alpha.team._grant(alpha.team.keys.held(record), alpha.npub, NOW)
    wrapped[half] = unb64(other.content)[half] if by == "another" else bytes(half.stop - half.start)
    forged = alpha.me.sign(EPOCH_GRANT, grant.tags, b64(bytes(wrapped)), NOW)
    assert open_grant(alpha.me, grant, alpha.team.team_id, record.n, record.commit).n == record.n
    with pytest.raises(Refused):
        open_grant(alpha.me, forged, alpha.team.team_id, record.n, record.commit)
