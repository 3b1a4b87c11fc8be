"""Names never identify: who is meant is clear, or nothing is done."""

from __future__ import annotations

import pytest

from meshconsole.control.members import find_member
from meshconsole.core.errors import Fatal
from meshconsole.core.status import MemberStatus


def member(npub: str, name: str) -> MemberStatus:
    return MemberStatus(npub * 32, name, "member", "")


ALPHA, BRAVO = member("a1", "alpha"), member("b2", "bravo")


def test_by_name_or_by_the_beginning_of_the_key() -> None:
    for who in ("bravo", "b2b2", "B2B2B2B2"):
        assert find_member((ALPHA, BRAVO), who) is BRAVO


def test_two_of_one_name_are_not_told_apart_by_it() -> None:
    double = member("c3", "alpha")
    with pytest.raises(Fatal, match="2 members fit 'alpha'"):
        find_member((ALPHA, double), "alpha")
    assert find_member((ALPHA, double), "c3c3") is double


def test_a_name_that_looks_like_another_members_key_catches_nothing() -> None:
    """Else removing the device with that key would remove the wrong one."""
    posing = member("c3", "b2b2b2b2")
    with pytest.raises(Fatal, match="2 members fit"):
        find_member((ALPHA, BRAVO, posing), "b2b2b2b2")


@pytest.mark.parametrize("who", ["", "b", "b2b", "ALPHA", "nobody"])
def test_nobody_is_guessed(who: str) -> None:
    with pytest.raises(Fatal, match="no member"):
        find_member((ALPHA, BRAVO), who)
