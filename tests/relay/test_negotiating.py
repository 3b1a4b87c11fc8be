"""Reconciliation with the relay behind its door: the gates, the limits, the snapshot."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from meshconsole.core.errors import Fatal
from meshconsole.core.kinds import GIFT_WRAP, TEAM_NOTE
from meshconsole.core.sections import RelaySection
from meshconsole.relay import negotiating
from meshconsole.relay.items import ItemVector
from meshconsole.relay.negentropy import Initiator
from meshconsole.relay.negotiating import HELD
from meshconsole.relay.store import Item
from meshconsole.relay.verbs import neg
from tests.relay.door import Door, door, hear, say
from tests.relay.making import NOW, npub, unsigned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from websockets.asyncio.client import ClientConnection as Client

    from meshconsole.core.event import Event
    from meshconsole.relay.filter import Filter

MANY = RelaySection(rate_limits=False)


def items(events: Sequence[Event]) -> ItemVector:
    return ItemVector(sorted(Item(event.created_at, bytes.fromhex(event.id)) for event in events))


def notes(count: int, start: int = 0, kind: int = 1) -> list[Event]:
    return [unsigned(kind=kind, content=str(n), created_at=NOW - n % 50) for n in range(start, start + count)]


async def reconcile(
    client: Client, ours: Sequence[Event], wanted: dict[str, object], frame_bytes: int = 4096, name: str = "n"
) -> tuple[set[str], set[str]]:
    """(have, need) as a client learns them; the negotiation is left open."""
    initiator = Initiator(items(ours), frame_bytes)
    have: set[str] = set()
    need: set[str] = set()
    await say(client, "NEG-OPEN", name, wanted, initiator.begin().hex())
    while True:
        verb, identifier, said = await hear(client)
        assert (verb, identifier) == ("NEG-MSG", name), said
        reply, more_have, more_need = initiator.receive(bytes.fromhex(said))
        have |= {one.hex() for one in more_have}
        need |= {one.hex() for one in more_need}
        if reply is None:
            return have, need
        await say(client, "NEG-MSG", name, reply.hex())


async def refusal(
    client: Client, wanted: dict[str, object], first: str = "6100000200", name: str = "n"
) -> Any:  # noqa: ANN401
    await say(client, "NEG-OPEN", name, wanted, first)
    said = await hear(client)
    assert said[:2] == ["NEG-ERR", name], said
    return said[2:]


@asynccontextmanager
async def holding(events: Sequence[Event], config: RelaySection = MANY) -> AsyncIterator[tuple[Door, Client]]:
    async with door(config=config) as d, d.connect() as client:
        assert all(verdict.accepted for verdict in d.relay.store.add(list(events)))
        yield d, client


async def test_a_client_learns_what_it_has_and_needs() -> None:
    everything = notes(700)
    async with holding(everything[:600]) as (_, client):
        have, need = await reconcile(client, everything[50:], {"kinds": [1]})
    assert have == {event.id for event in everything[600:]}
    assert need == {event.id for event in everything[:50]}


async def test_only_what_matches_counts_and_limits_take_the_newest() -> None:
    seen = notes(100)
    async with holding([*seen, *notes(100, 100, kind=7)]) as (_, client):
        assert await reconcile(client, [], {"kinds": [1], "since": NOW - 9}) == (
            set(),
            {event.id for event in seen if event.created_at >= NOW - 9},
        )
        newest = sorted(seen, key=lambda event: (-event.created_at, event.id))
        _, need = await reconcile(client, [], {"kinds": [1], "limit": 5}, name="few")
        assert need == {event.id for event in newest[:5]}
        assert await reconcile(client, [], {"kinds": []}, name="none") == (set(), set())


async def test_what_a_client_may_not_read_is_not_told() -> None:
    for_bob = unsigned(kind=GIFT_WRAP, tags=(("p", npub("bob")),))
    async with holding([for_bob, unsigned(kind=TEAM_NOTE), *notes(1)]) as (_, client):
        _, need = await reconcile(client, [], {})
    assert need == {notes(1)[0].id}


async def test_a_negotiation_is_a_snapshot() -> None:
    async with holding(notes(100)) as (d, client):
        await say(client, "NEG-OPEN", "n", {}, "61000001" + 16 * "00")
        assert (await hear(client))[0] == "NEG-MSG"
        d.relay.store.add([unsigned(content="later")])
        await say(client, "NEG-MSG", "n", "6100000200")
        listed = bytes.fromhex((await hear(client))[2])
        assert bytes.fromhex(unsigned(content="later").id) not in listed
        assert await reconcile(client, notes(100), {}, name="new") == (set(), {unsigned(content="later").id})


async def test_too_many_events() -> None:
    async with holding(notes(20), RelaySection(rate_limits=False, max_sync_events=19)) as (d, client):
        sentence, most = await refusal(client, {})
        assert sentence.startswith("blocked: ")
        assert most == 19
        d.relay.apply(RelaySection(rate_limits=False, max_sync_events=20))
        assert len((await reconcile(client, [], {}))[1]) == 20


async def test_open_negotiations_together_are_bounded() -> None:
    async with holding(notes(20), RelaySection(rate_limits=False, max_sync_events=20)) as (d, client):
        for name in "abcd"[:HELD]:
            await reconcile(client, [], {}, name=name)
        async with d.connect() as other:
            (sentence,) = await refusal(other, {})
            assert sentence.startswith("rate-limited: ")
            await say(client, "NEG-CLOSE", "a")
            await reconcile(client, [], {"kinds": []}, name="heard")  # so NEG-CLOSE was, too
            await reconcile(other, [], {})


@pytest.mark.parametrize("message", ["", "61ffffffffffffffffffff7f", "6100000281ffffffffffffffff7f", "00"])
async def test_hostile_messages_are_refused_and_the_relay_goes_on(message: str) -> None:
    async with holding(notes(3)) as (_, client):
        (sentence,) = await refusal(client, {}, message)
        assert sentence.startswith("invalid: ")
        await reconcile(client, [], {})
        await say(client, "NEG-MSG", "n", message)
        said = await hear(client)
        assert said[0] == "NEG-ERR"
        assert said[2].startswith("invalid: ")
        assert len((await reconcile(client, [], {}))[1]) == 3


async def test_another_version_is_answered_with_ours() -> None:
    async with holding(notes(3)) as (_, client):
        await say(client, "NEG-OPEN", "n", {}, "62")
        assert await hear(client) == ["NEG-MSG", "n", "61"]
        await say(client, "NEG-MSG", "n", "6100000200")
        assert (await hear(client))[0] == "NEG-MSG"


async def test_a_store_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with holding(notes(3)) as (d, client):

        def broken(*_: object) -> list[Item]:
            raise Fatal("The database is damaged.")

        monkeypatch.setattr(d.relay.store, "items", broken)
        assert await refusal(client, {}) == ["error: The database is damaged."]


async def test_what_is_idle_ends() -> None:
    async with holding(notes(3)) as (d, client):
        await reconcile(client, [], {})
        assert d.relay._negotiating is not None
        d.relay._negotiating.end_idle(asyncio.get_running_loop().time() + neg.IDLE_S + 1)
        said = await hear(client)
        assert said[0] == "NEG-ERR"
        assert said[2].startswith("closed: ")


async def test_a_client_may_leave_in_the_middle() -> None:
    async with holding(notes(300)) as (d, client):
        async with d.connect() as other:
            await say(other, "NEG-OPEN", "n", {}, "6100000200")
        assert len((await reconcile(client, [], {}))[1]) == 300


async def test_large_ones_count_as_many_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(negotiating, "EVENTS_PER_REQUEST", 10)
    config = RelaySection(events_per_second=1, max_sync_events=200)
    async with holding(notes(150), config) as (_, client):
        assert len((await reconcile(client, [], {}))[1]) == 150
        (sentence,) = await refusal(client, {"kinds": []}, name="next")
        assert sentence.startswith("rate-limited: ")
    async with holding(notes(250), config) as (_, client):
        assert (await refusal(client, {}))[0].startswith("blocked: ")
        assert (await refusal(client, {}))[0].startswith("rate-limited: ")


async def test_what_was_replaced_before_it_began_is_not_gathered() -> None:
    async with holding(notes(3)) as (d, client):
        asked: list[object] = []
        gather = d.relay.store.items

        def watched(wanted: Filter, cap: int) -> list[Item]:
            asked.append(wanted)
            loop.call_soon_threadsafe(begun.set)
            go_on.wait(10)
            return gather(wanted, cap)

        loop, begun, go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
        d.relay.store.items = watched  # type: ignore[method-assign]
        await say(client, "NEG-OPEN", "n", {}, "6100000200")
        await begun.wait()
        for _ in range(20):
            await say(client, "NEG-OPEN", "n", {}, "6100000200")
        await say(client, "NEG-CLOSE", "n")
        await say(client, "REQ", "heard", {"kinds": []})
        assert (await hear(client))[0] == "EOSE"
        go_on.set()
        assert len((await reconcile(client, [], {}))[1]) == 3
        assert len(asked) == 2
