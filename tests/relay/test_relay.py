"""The service: publishing, querying, sessions over ports, its start and its end."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from meshconsole.core.errors import MeshconsoleError
from meshconsole.core.sections import RelaySection
from meshconsole.core.verdict import ACCEPTED, DUPLICATE
from meshconsole.relay.filter import Filter
from meshconsole.relay.lists import Lists
from meshconsole.relay.relay import PRESSED, RefusedEvent, Relay, Stored
from tests.relay.making import NOW, Clock, Members, Public, npub, raw, signed
from tests.relay.memory import MemoryEventStore, ids
from tests.relay.relay_bench import bench, notes


async def test_publish_and_query() -> None:
    async with bench() as b:
        event = signed()
        assert await b.relay.publish(event) == ACCEPTED
        assert await b.relay.publish(raw(event)) == DUPLICATE
        assert await b.relay.query([Filter()]) == [raw(event)]
        assert [row.id for row in await b.relay.feed(0, 10)] == [event.id]
        assert b.emitted == [Stored(event, 1, "local", NOW, raw(event))]


async def test_publish_many_keeps_order_and_answers_each() -> None:
    async with bench() as b:
        events = notes(40)
        verdicts = await b.relay.publish_many([*events, b"rubbish", events[0]], via="link", trusted=True)
        assert [v.code for v in verdicts] == [""] * 40 + ["invalid", "duplicate"]
        assert [row.id for row in await b.relay.feed(0, 100)] == [event.id for event in events]
        refused = [e for e in b.emitted if isinstance(e, RefusedEvent)]
        assert [(e.event, e.id, e.via, e.verdict.code, e.size) for e in refused] == [
            (None, "", "link", "invalid", len(b"rubbish"))
        ]
        assert await b.relay.publish_many([]) == []


async def test_links_and_this_node_pass_the_gates_for_clients_but_not_the_rules() -> None:
    async with bench(access=Members()) as b:
        inner = signed(kind=4201, tags=(("-",),))
        assert (await b.relay.publish(signed(), via="client x")).code == "auth-required"
        assert await b.relay.publish(inner, via="link", trusted=True) == ACCEPTED
        assert await b.relay.publish(signed(kind=4202), via="local") == ACCEPTED
        assert (await b.relay.publish(signed(kind=22242), trusted=True)).code == "invalid"


async def test_what_comes_by_another_door_of_the_node_passes_the_rules_for_clients() -> None:
    """A report to the Blossom server is no event of the node itself."""
    config = RelaySection(max_event_bytes=1024, kind_events_per_minute=("1984=1",))
    async with bench(access=Members({npub("alice")}), config=config) as b:

        async def offer(**changes: Any) -> str:  # noqa: ANN401
            event = signed(**{"kind": 1984, **changes})
            return (await b.relay.publish_for(event, (event.pubkey,), via="edge")).code

        assert [await offer(content=str(number)) for number in range(3)] == ["", "", "rate-limited"]
        assert await offer(author="mallory") == "restricted"
        assert await offer(content="x" * 2000) == "invalid"
        b.relay.house.lists = lambda: Lists(disallowed_kinds=frozenset({1984}))
        assert await offer(content="listed away") == "blocked"
        assert b.relay.status().refusals.keys() == {
            "rate-limited: at most 1 events of kind 1984 a minute from one client",
            "restricted: members only",
            "invalid: the event is larger than 1024 bytes",
            "blocked: this kind of event is not taken here",
        }


async def test_links_may_carry_larger_events_than_clients() -> None:
    async with bench(config=RelaySection(max_event_bytes=1024, rate_limits=False)) as b:
        event = signed(content="x" * 2000)
        client = b.client()
        client.publish(event)
        assert (await client.hear())[0][2] is False
        assert await b.relay.publish(event, via="link", trusted=True) == ACCEPTED


async def test_it_is_pressed_while_many_events_of_plain_clients_wait_and_by_no_others() -> None:
    async with bench() as b:

        def is_pressed() -> bool:
            return b.relay.is_pressed

        ours = asyncio.create_task(b.relay.publish_many(notes(PRESSED)))
        await asyncio.sleep(0)
        assert not is_pressed()
        await ours
        client = b.client()
        for number in range(PRESSED):
            assert not is_pressed()
            client.say("EVENT", json.loads(raw(signed("bob", content=str(number)))))
        assert is_pressed()
        for _ in range(PRESSED):
            assert (await client.heard.get())[0] == "OK"
        assert not is_pressed()


async def test_query_is_capped_by_the_owners_limit() -> None:
    async with bench(config=RelaySection(max_limit=2, rate_limits=False)) as b:
        events = notes(4)
        await b.relay.publish_many(events)
        assert ids(await b.relay.query([Filter()])) == [events[3].id, events[2].id]
        assert len(await b.relay.query([Filter()], 10)) == 4
        assert await b.client().stored("s", {"limit": 99}) == [events[3].id, events[2].id]


async def test_a_broken_event_is_answered_by_its_id() -> None:
    async with bench() as b:
        client = b.client()
        client.say("EVENT", {"id": "ABC", "kind": "x"})
        client.say("EVENT", {"kind": 1})
        client.say("EVENT", 5)
        said = await client.hear(3)
        assert said[0][:3] == ["OK", "ABC", False]
        assert said[0][3].startswith("invalid: ")
        assert [message[0] for message in said[1:]] == ["NOTICE", "NOTICE"]


async def test_a_connection_that_ends_leaves_nothing() -> None:
    async with bench() as b:
        client = b.client()
        await client.stored("s", {})
        client.publish(signed())
        b.relay.disconnect(client.session)
        assert await b.relay.publish(signed(content="more")) == ACCEPTED
        assert (b.relay.status().clients, b.relay.status().subscriptions) == (0, 0)
        assert len(await b.relay.query([Filter()])) == 2


async def test_what_is_turned_away_at_the_gate_is_told_to_the_node() -> None:
    async with bench(access=Members()) as b:
        client, event = b.client(), signed()
        client.publish(event)
        assert [message[0] for message in await client.hear(2)] == ["AUTH", "OK"]
        (refused,) = b.emitted
        assert isinstance(refused, RefusedEvent)
        assert (refused.event, refused.id, refused.via) == (None, event.id, "client test")
        assert refused.verdict.code == "auth-required"


async def test_new_limits_reach_open_sessions() -> None:
    async with bench() as b:
        client = b.client()
        await client.stored("a", {})
        b.relay.apply(RelaySection(max_subscriptions=1))
        client.say("REQ", "b", {})
        assert (await client.hear())[0][:2] == ["CLOSED", "b"]


async def test_a_relay_that_was_not_started_says_so() -> None:
    relay = Relay(MemoryEventStore(Clock()), access=Public(), emit=lambda _: None)
    with pytest.raises(MeshconsoleError, match="not started"):
        await relay.publish(signed())
    await relay.stop()


async def test_stopping_commits_what_was_offered() -> None:
    store = MemoryEventStore(Clock())
    relay = Relay(store, access=Public(), emit=lambda _: None)
    await relay.start()
    publishing = asyncio.ensure_future(relay.publish_many(notes(50)))
    await asyncio.sleep(0)
    await relay.stop()
    assert [verdict.accepted for verdict in await publishing] == [True] * 50
    assert store.count() == 50


async def test_expired_events_are_purged_in_the_background() -> None:
    purged = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Purging(MemoryEventStore):
        def purge_expired(self) -> int:
            loop.call_soon_threadsafe(purged.set)
            return 0

    async with bench(Purging(Clock())):
        await purged.wait()


async def test_every_refusal_is_counted_by_verb_and_code() -> None:
    async with bench(access=Members({npub("alice")})) as b:
        client = b.client()
        client.say("REQ", "s", {})
        client.publish(signed())
        client.say("AUTH", {"id": "x"})
        client.say("HELLO")
        await b.relay.publish(b"rubbish", trusted=True)
        await client.hear(5)
        assert dict(b.relay.refusals) == {
            ("REQ", "auth-required"): 1,
            ("EVENT", "auth-required"): 1,
            ("AUTH", "invalid"): 1,
            ("message", "unsupported"): 1,
            ("EVENT", "invalid"): 1,
        }
