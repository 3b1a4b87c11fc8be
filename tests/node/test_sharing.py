from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from meshconsole.node.sharing import Sharing
from tests.team.devices import NOW, founder, join

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from meshconsole.content.service import Content
    from meshconsole.team.ops import GivenRole


class Ear:
    """Hears who is attached with which right."""

    def attach(
        self,
        peer: str,
        send: Callable[[bytes], Awaitable[None]],
        may_read: Callable[[str], bool],
        passes_on: Callable[[], bool],
    ) -> None:
        self.may_read, self.passes_on = may_read, passes_on


async def send(_: bytes) -> None:
    return None


@pytest.mark.parametrize("role", ["member", "observer", "relay"])
def test_who_belongs_may_have_blocks_until_it_is_removed(role: GivenRole) -> None:
    alpha, ear = founder(), Ear()
    bravo = join(alpha, "bravo", role)
    sharing = Sharing(cast("Content", ear), lambda: alpha.team, gives=always)
    sharing.attach(bravo.npub, send, lambda cid: cid != "secret")
    assert ear.may_read("cid")
    assert ear.passes_on()
    assert not ear.may_read("secret")
    alpha.say(alpha.team.remove(bravo.npub, NOW))
    assert not ear.may_read("cid")
    assert not ear.passes_on()


def test_nothing_is_passed_on_where_the_owner_does_not_want_it() -> None:
    alpha, ear = founder(), Ear()
    bravo = join(alpha, "bravo", "member")
    passing = True
    sharing = Sharing(cast("Content", ear), lambda: alpha.team, gives=always, passes_on=lambda: passing)
    sharing.attach(bravo.npub, send, lambda _: True)
    assert ear.passes_on()
    passing = False
    assert not ear.passes_on()
    assert ear.may_read("cid")


def always() -> bool:
    return True


def never() -> bool:
    return False


def test_strangers_get_nothing_and_nobody_does_where_nothing_is_given() -> None:
    alpha, ear = founder(), Ear()
    Sharing(cast("Content", ear), lambda: alpha.team, gives=always).attach("ab" * 32, send, lambda _: True)
    assert not ear.may_read("cid")
    Sharing(cast("Content", ear), lambda: None, gives=always).attach(alpha.npub, send, lambda _: True)
    assert not ear.may_read("cid")
    Sharing(cast("Content", ear), lambda: alpha.team, gives=never).attach(alpha.npub, send, lambda _: True)
    assert not ear.may_read("cid")
