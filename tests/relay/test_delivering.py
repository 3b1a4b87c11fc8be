"""Live delivery: who hears an event that was taken in, and that each hears it once (NIP-01, NIP-59)."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING

from tests.relay.making import NOW, Clock, Members, npub, raw, signed
from tests.relay.memory import MemoryEventStore
from tests.relay.relay_bench import bench, notes

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from meshconsole.core.verdict import Verdict
    from meshconsole.relay.filter import Filter
    from meshconsole.relay.sqlite import SqliteEventStore
    from meshconsole.relay.store import Selection


async def test_a_client_publishes_and_another_hears() -> None:
    async with bench() as b:
        writer, listener = b.client(), b.client()
        assert await listener.stored("all", {}) == []
        event = signed()
        writer.publish(event)
        assert await writer.hear() == [["OK", event.id, True, ""]]
        assert (await listener.hear())[0] == ["EVENT", "all", json.loads(raw(event))]
        writer.publish(event)
        assert await writer.hear() == [["OK", event.id, True, "duplicate: already have this event"]]
        assert listener.heard.empty()
        status = b.relay.status()
        assert (status.clients, status.subscriptions, status.events_in, status.events_out) == (2, 1, 1, 1)


async def test_stored_then_live() -> None:
    async with bench() as b:
        old, new = notes(2)
        await b.relay.publish(old)
        client = b.client()
        assert await client.stored("s", {"kinds": [1]}) == [old.id]
        await b.relay.publish(new)
        assert (await client.hear())[0][2]["id"] == new.id


async def test_limit_zero_is_live_only() -> None:
    async with bench() as b:
        old, new = notes(2)
        await b.relay.publish(old)
        client = b.client()
        assert await client.stored("s", {"limit": 0}) == []
        await b.relay.publish(new)
        assert (await client.hear())[0][2]["id"] == new.id


async def test_a_closed_subscription_hears_nothing_more() -> None:
    async with bench() as b:
        client = b.client()
        await client.stored("s", {})
        client.say("CLOSE", "s")
        await b.relay.publish(signed())
        assert client.heard.empty()
        assert b.relay.status().subscriptions == 0


async def test_a_member_who_is_removed_hears_nothing_more() -> None:
    access = Members({npub("alice")})
    async with bench(access=access) as b:
        client = b.client()
        (challenge,) = await client.hear()
        login = signed(kind=22242, tags=(("relay", "ws://x"), ("challenge", challenge[1])))
        client.say("AUTH", json.loads(raw(login)))
        assert (await client.hear())[0][2] is True
        assert await client.stored("s", {}) == []
        access.npubs.clear()
        await b.relay.publish(signed())
        assert await client.hear() == [["CLOSED", "s", "restricted: members only"]]
        assert b.relay.status().subscriptions == 0


async def test_subscriptions_with_the_same_id_share_their_message() -> None:
    async with bench() as b:
        same = [b.client() for _ in range(3)]
        other = b.client()
        for client in same:
            assert await client.stored("s", {}) == []
        assert await other.stored("t", {}) == []
        event = signed()
        await b.relay.publish(event)
        said = [client.session.outbox() for client in (*same, other)]
        assert said[0][0] == b'["EVENT","s",' + raw(event) + b"]"
        assert said[0][0] is said[1][0] is said[2][0]
        assert said[3] == [b'["EVENT","t",' + raw(event) + b"]"]


async def test_the_gate_is_asked_once_for_all_events_of_a_turn() -> None:
    class Counted(Members):
        asked = 0

        def may_read(self, npubs: Collection[str]) -> Verdict:
            self.asked += 1
            return super().may_read(npubs)

    access = Counted({npub("alice")})
    async with bench(access=access) as b:
        client = b.client()
        (challenge,) = await client.hear()
        login = signed(kind=22242, tags=(("relay", "ws://x"), ("challenge", challenge[1])))
        client.say("AUTH", json.loads(raw(login)))
        assert (await client.hear())[0][2] is True
        assert await client.stored("s", {}) == []
        before = access.asked
        await b.relay.publish_many(notes(30))
        assert len(await client.hear(30)) == 30
        assert access.asked - before < 5


async def test_nothing_is_lost_or_doubled_between_stored_and_live(sqlite_store: SqliteEventStore) -> None:
    """Subscriptions open at any moment of a flood of events: each hears every event exactly once."""
    async with bench(sqlite_store) as b:
        events = notes(400)
        writer, readers = b.client(), [b.client() for _ in range(40)]
        for number, reader in enumerate(readers):
            for event in events[number * 10 : number * 10 + 10]:
                writer.publish(event)
            reader.say("REQ", "s", {"kinds": [1]})
            await asyncio.sleep(0)
        assert {message[1] for message in await writer.hear(400)} == {event.id for event in events}
        for reader in readers:
            heard = [message[2]["id"] for message in await reader.hear(401) if message[0] == "EVENT"]
            assert sorted(heard) == sorted(event.id for event in events)
        await b.relay.publish(signed(kind=7))
        assert all(reader.heard.empty() for reader in readers)


class Held(MemoryEventStore):
    """Its readers wait until they are let on."""

    def __init__(self) -> None:
        super().__init__(Clock())
        self.go_on = threading.Event()

    def select(self, filters: Sequence[Filter], cap: int) -> Selection:
        self.go_on.wait()
        return super().select(filters, cap)


async def test_what_comes_while_the_stored_part_is_read_is_neither_lost_to_a_limit_nor_doubled() -> None:
    held = Held()
    async with bench(held) as b:
        await b.relay.publish(signed(content="newest", created_at=NOW + 9))
        client = b.client()
        client.say("REQ", "s", {"limit": 1}, {"kinds": [7], "limit": 0})
        late = [signed(content="older"), signed(kind=7), signed(content="even newer", created_at=NOW + 10)]
        for event in late:
            await b.relay.publish(event)
        held.go_on.set()
        stored, eose, *live = await client.hear(4)
        assert stored[2]["id"] == late[2].id
        assert eose[0] == "EOSE"
        assert [message[2]["id"] for message in live] == [late[0].id, late[1].id]
        await b.relay.publish(last := signed(content="last"))
        assert (await client.hear())[0][2]["id"] == last.id
        assert client.session.subscriptions["s"].sent is None


async def test_nip59_live_wraps_are_heard_by_their_readers_only_even_if_they_log_in_late() -> None:
    async with bench() as b:
        reader, stranger = b.client(), b.client()
        assert await stranger.stored("all", {}) == []
        assert await reader.stored("all", {}) == []
        early = signed("one-time", 21059, (("p", npub("bob")),), "early")
        assert (await b.relay.publish(early)).accepted
        reader.publish(signed(tags=(("-",),)))
        (_, challenge), _ = await reader.hear(2)
        login = signed("bob", 22242, (("relay", "ws://here"), ("challenge", challenge)))
        reader.say("AUTH", json.loads(raw(login)))
        assert (await reader.hear())[0][2] is True
        wrap = signed("one-time", 1059, (("p", npub("bob")),))
        passing = signed("one-time", 21059, (("p", npub("bob")),))
        note = signed(content="for all")
        await b.relay.publish_many([wrap, passing, note])
        assert {message[2]["id"] for message in await reader.hear(3)} == {wrap.id, passing.id, note.id}
        assert (await stranger.hear())[0][2]["id"] == note.id
