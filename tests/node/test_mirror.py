"""The roster as plain Nostr clients see it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from meshconsole.core import kinds
from meshconsole.core.errors import Fatal
from meshconsole.core.event import Event, decode_event
from meshconsole.crypto.schnorr import public_key, verify_event
from meshconsole.node.mirror import RosterMirror
from meshconsole.relay.event import is_protected
from meshconsole.relay.filter import Filter
from meshconsole.relay.membership import ROLES
from meshconsole.relay.relay import Relay
from tests.relay.making import NOW, Clock, Public, npub, secret
from tests.relay.memory import MemoryEventStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET = secret("relay-self")


class Mirrored:
    def __init__(self) -> None:
        self.clock = Clock()
        self.members: dict[str, str] | None = {npub("alice"): "admin", npub("bob"): "member"}
        self.store = MemoryEventStore(self.clock)
        self.heard = asyncio.Event()
        """Something was stored, or refused, since it was cleared."""
        self.relay = Relay(self.store, access=Public(), emit=lambda _: self.heard.set(), clock=self.clock)
        self.mirror = RosterMirror(self.relay, SECRET, lambda: self.members, self.clock)

    async def told(self, *wanted: int) -> list[Event]:
        filters = [Filter(kinds=frozenset(wanted))]
        return [decode_event(raw) for raw in await self.relay.query(filters)]

    async def members_told(self) -> set[tuple[str, ...]]:
        (event,) = await self.told(kinds.MEMBERS)
        assert event.tags[0] == ("-",)
        return set(event.tags[1:])


@pytest.fixture
async def mirrored() -> AsyncIterator[Mirrored]:
    made = Mirrored()
    await made.relay.start()
    await made.mirror.update()
    yield made
    await made.relay.stop()


async def test_members_and_roles_are_told_by_the_relays_own_key(mirrored: Mirrored) -> None:
    assert await mirrored.members_told() == {
        ("member", npub("alice"), "admin"),
        ("member", npub("bob"), "member"),
    }
    roles = await mirrored.told(kinds.ROLE)
    assert {event.tag("d") for event in roles} == set(ROLES)
    for event in [*roles, *await mirrored.told(kinds.MEMBERS)]:
        assert event.pubkey == public_key(SECRET) == mirrored.relay.house.npub
        assert is_protected(event)
        assert verify_event(event)
    assert await mirrored.told(kinds.MEMBER_ADDED) == [], "nobody is new in the first list"


async def test_changes_are_told_once(mirrored: Mirrored) -> None:
    mirrored.members = {npub("alice"): "admin", npub("carol"): ""}
    await mirrored.mirror.update()
    await mirrored.mirror.update()
    assert await mirrored.members_told() == {("member", npub("alice"), "admin"), ("member", npub("carol"))}
    assert [event.tag("p") for event in await mirrored.told(kinds.MEMBER_ADDED)] == [npub("carol")]
    assert [event.tag("p") for event in await mirrored.told(kinds.MEMBER_REMOVED)] == [npub("bob")]


async def test_nothing_new_stores_nothing_new(mirrored: Mirrored) -> None:
    head = mirrored.store.head_seq
    await mirrored.mirror.update()
    assert mirrored.store.head_seq == head


async def test_a_clock_that_went_back_does_not_freeze_the_list(mirrored: Mirrored) -> None:
    mirrored.clock.now = NOW - 10**8
    mirrored.members = {npub("alice"): "observer"}
    await mirrored.mirror.update()
    assert await mirrored.members_told() == {("member", npub("alice"), "observer")}


async def test_when_it_is_nobodys_business_all_of_it_goes(mirrored: Mirrored) -> None:
    members, mirrored.members = mirrored.members, None
    await mirrored.mirror.update()
    assert mirrored.relay.house.npub == ""
    assert await mirrored.told(*kinds.MEMBERSHIP_KINDS) == []
    mirrored.members = members
    mirrored.clock.now += 1
    await mirrored.mirror.update()
    assert len(await mirrored.members_told()) == 2


async def test_what_failed_is_told_by_the_next_start(
    mirrored: Mirrored, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> list[bytes]:
        raise Fatal("The database is damaged.")

    mirrored.members = {npub("carol"): "admin"}
    with monkeypatch.context() as patch:
        patch.setattr(mirrored.store, "query", broken)
        with pytest.raises(Fatal):
            await mirrored.mirror.follow()
    mirrored.heard.clear()
    following = asyncio.create_task(mirrored.mirror.follow())
    await mirrored.heard.wait()
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert [event.tag("p") for event in await mirrored.told(kinds.MEMBER_ADDED)] == [npub("carol")]
