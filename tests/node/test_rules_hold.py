"""Each rule of the team, set on one device, and what becomes of it on another one whose owner wants less."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from meshconsole.core.config import Config
from meshconsole.core.errors import Refused
from meshconsole.node.access import TeamAccess
from meshconsole.node.files import check_size
from meshconsole.team.ops import Policy
from meshconsole.team.rules import CAUTIOUS, stricter
from tests.relay.making import npub
from tests.team.devices import DAY_S, NOW, Device, founder, identity, join, sync

if TYPE_CHECKING:
    from collections.abc import Callable

CARELESS = msgspec.convert(
    {
        "privacy": {
            "share_with_team_only": False,
            "require_authentication": False,
            "allow_public_discovery": True,
        },
        "content": {"min_replicas": 1},
    },
    Config,
)
STRANGER = npub("stranger")


def effective(bravo: Device) -> Config:
    return stricter(CARELESS, bravo.team.rules)


def access(bravo: Device) -> TeamAccess:
    return TeamAccess(lambda: effective(bravo).privacy, lambda: bravo.team, bravo.npub)


def history(bravo: Device) -> bool:
    note = bravo.team.seal_note("before", NOW)
    late = join(bravo, "late")
    with pytest.raises(Refused, match="no key"):
        late.team.open_note(note)
    return True


def rotate_days(bravo: Device) -> bool:
    before = bravo.team.epoch
    assert not bravo.team.tend(NOW + DAY_S // 2)
    assert bravo.team.tend(NOW + 2 * DAY_S)
    return bravo.team.epoch == before + 1


def two_admins(bravo: Device) -> bool:
    bravo.team.admit(identity().bundle_event(NOW), "new", "member", NOW)
    return "new" not in bravo.roles() and len(bravo.team.proposals()) == 1


def max_file_mb(bravo: Device) -> bool:
    check_size(bravo.team, 1_000_000)
    with pytest.raises(Refused, match="at most 1 MB"):
        check_size(bravo.team, 1_000_001)
    return True


def share_with_team_only(bravo: Device) -> bool:
    asked = access(bravo)
    return not asked.may_read([STRANGER]).accepted and not asked.may_write([STRANGER]).accepted


def require_authentication(bravo: Device) -> bool:
    return access(bravo).may_read([]).code == "auth-required" and access(bravo).may_read([STRANGER]).accepted


HELD: dict[str, tuple[Policy, Callable[[Device], bool]]] = {
    "history": (Policy(history="joining"), history),
    "rotate_days": (Policy(rotate_days=1), rotate_days),
    "plain_messages": (
        Policy(plain_messages=True),
        lambda bravo: len(bravo.team.wrap_plain(STRANGER, "hello", NOW)) == 2,
    ),
    "share_with_team_only": (Policy(share_with_team_only=True), share_with_team_only),
    "require_authentication": (Policy(require_authentication=True), require_authentication),
    "allow_public_discovery": (
        Policy(allow_public_discovery=False),
        lambda bravo: not effective(bravo).privacy.allow_public_discovery,
    ),
    "max_event_bytes": (
        Policy(max_event_bytes=2048),
        lambda bravo: effective(bravo).relay.max_event_bytes == 2048,
    ),
    "min_replicas": (Policy(min_replicas=3), lambda bravo: effective(bravo).content.min_replicas == 3),
    "max_file_mb": (Policy(max_file_mb=1), max_file_mb),
    "two_admins": (Policy(two_admins=True), two_admins),
}


def test_no_rule_is_left_out() -> None:
    assert set(HELD) == set(CAUTIOUS)


@pytest.mark.parametrize("name", HELD)
def test_a_rule_that_one_device_sets_holds_on_another(name: str) -> None:
    alpha = founder()
    bravo = join(alpha, "bravo", "admin")
    sync(alpha, bravo)
    policy, holds = HELD[name]
    assert access(bravo).public()
    alpha.say(alpha.team.set_policy(policy, NOW))
    bravo.hear(alpha)
    assert holds(bravo)


def test_plain_messages_are_refused_where_nobody_allowed_them() -> None:
    with pytest.raises(Refused, match="plain_messages is off"):
        founder().team.wrap_plain(STRANGER, "hello", NOW)
