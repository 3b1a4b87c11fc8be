"""The team's checkpoints do not fill the store, and nothing false pushes a true one out."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from meshconsole.core import kinds
from meshconsole.core.event import decode_event
from meshconsole.node import shelf
from meshconsole.node.shelf import Shelf
from meshconsole.relay.filter import Filter
from meshconsole.relay.relay import Relay
from meshconsole.team.checkpoints import Checkpoint, sign_checkpoint
from tests.relay.making import NOW, Public
from tests.relay.memory import MemoryEventStore
from tests.team.devices import PROVIDER, identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from meshconsole.core.event import Event
    from meshconsole.crypto.identity import Identity

ALPHA, BRAVO = identity(), identity()


def checkpoint(of: Identity, n: int, head: str = "ab") -> Event:
    return sign_checkpoint(of, Checkpoint(1, n, n, head * 32, "log", n, 0, "cd" * 32), NOW + n)


def half_signed(of: Identity, n: int) -> Event:
    """As who has the Nostr key alone can make it."""
    whole = checkpoint(of, n)
    forged = [(name, suite, "A" * len(value)) for name, suite, value in whole.tags]
    return of.sign(kinds.CHECKPOINT, tuple(forged), whole.content, NOW)


class Kept:
    def __init__(self) -> None:
        self.store = MemoryEventStore(lambda: NOW)
        self.relay = Relay(self.store, access=Public(), emit=lambda _: None)
        self.known = {each.npub: each.bundle for each in (ALPHA, BRAVO)}
        self.shelf = self.restarted()

    def restarted(self) -> Shelf:
        return Shelf(self.relay, self.known.get, PROVIDER)

    async def hears(self, *events: Event) -> None:
        await self.relay.publish_many(events)
        for heard in await self.shelf.verified(events):
            self.shelf.put(heard)
        await self.shelf.tidy()

    def stored(self) -> set[str]:
        found = self.store.query([Filter(kinds=frozenset({kinds.CHECKPOINT}))], 10_000)
        return {decode_event(raw).id for raw in found}


@pytest.fixture
async def kept() -> AsyncIterator[Kept]:
    made = Kept()
    await made.relay.start()
    yield made
    await made.relay.stop()


async def test_a_year_of_checkpoints_does_not_fill_the_store(kept: Kept) -> None:
    at_half = 0
    for n in range(1, 129):
        await kept.hears(checkpoint(ALPHA, n), checkpoint(BRAVO, n))
        at_half = len(kept.stored()) if n == 64 else at_half
    assert len(kept.stored()) <= at_half + 4 <= 2 * 18
    known = {pubkey.pubkey for pubkey in map(decode_event, kept.store.query([Filter()], 1000))}
    assert known == {ALPHA.npub, BRAVO.npub}


async def test_a_start_keeps_what_those_keep_who_saw_each_come(kept: Kept) -> None:
    events = [checkpoint(of, n) for n in (1, 2, 3, 8, 9, 30, 31, 32, 33) for of in (ALPHA, BRAVO)]
    other = Kept()
    await other.relay.start()
    for event in reversed(events):
        await other.hears(event)
    await kept.relay.publish_many(events)
    await kept.shelf.look_through(spared="")
    assert kept.stored() == other.stored()
    assert len(kept.stored()) < len(events)
    await other.relay.stop()


@pytest.mark.parametrize("when", ["before the start", "later"])
async def test_a_false_number_pushes_nothing_out(kept: Kept, when: str) -> None:
    true = [checkpoint(ALPHA, n) for n in (1, 2)]
    false = [half_signed(ALPHA, 1 << 40), half_signed(ALPHA, 1 << 41)]
    if when == "later":
        await kept.hears(*true, *false)
    else:
        await kept.relay.publish_many([*false, *true])
        await kept.shelf.look_through(spared="")
    assert kept.stored() == {event.id for event in true}


async def test_a_device_that_is_not_known_yet_is_judged_when_it_is(kept: Kept) -> None:
    events = [checkpoint(BRAVO, n) for n in range(1, 6)]
    del kept.known[BRAVO.npub]
    await kept.hears(*events)
    assert kept.shelf.known_by_now() == []
    assert len(kept.stored()) == 5
    kept.known[BRAVO.npub] = BRAVO.bundle
    await kept.hears(*kept.shelf.known_by_now())
    assert kept.stored() == {event.id for event in events[1:]}


async def test_strangers_fill_no_store(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "MAX_STRANGERS", 3)
    kept.known.clear()
    await kept.hears(*(checkpoint(BRAVO, n) for n in range(1, 8)))
    assert len(kept.stored()) == 3


async def test_those_of_this_device_itself_can_be_left_aside(kept: Kept) -> None:
    events = [checkpoint(of, n) for n in range(1, 8) for of in (ALPHA, BRAVO)]
    await kept.relay.publish_many(events)
    await kept.shelf.look_through(spared=ALPHA.npub)
    left = [decode_event(raw).pubkey for raw in kept.store.query([Filter()], 100)]
    assert left.count(ALPHA.npub) == 7
    assert left.count(BRAVO.npub) < 7


async def test_three_of_one_number_are_two(kept: Kept) -> None:
    events = [checkpoint(ALPHA, 5, sha256(bytes([i])).hexdigest()[:2]) for i in range(3)]
    await kept.hears(*events)
    assert kept.stored() == set(sorted(event.id for event in events)[:2])
