"""The service: publishing, querying, sessions over ports, live delivery."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from meshconsole.core.errors import MeshconsoleError, Unavailable
from meshconsole.core.sections import RelaySection
from meshconsole.core.verdict import ACCEPTED, DUPLICATE, Verdict
from meshconsole.relay import answering, store
from meshconsole.relay.filter import Filter
from meshconsole.relay.relay import PRESSED, RefusedEvent, Relay, Stored
from tests.relay.making import NOW, Clock, Members, Public, event_message, npub, raw, signed
from tests.relay.memory import MemoryEventStore, ids

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from meshconsole.core.event import Event
    from meshconsole.relay.policy import Access
    from meshconsole.relay.sqlite import SqliteEventStore
    from meshconsole.relay.store import EventStore, Selection, Tally


class Bench:
    def __init__(self, store: EventStore, access: Access, config: RelaySection) -> None:
        self.emitted: list[Stored | RefusedEvent] = []
        self.relay = Relay(store, access=access, emit=self.emitted.append, config=config, clock=Clock())

    def client(self) -> FakeClient:
        return FakeClient(self.relay)


class FakeClient:
    """A port that takes everything at once, unless it is made to stand still."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.moving = asyncio.Event()
        self.moving.set()
        self.heard: asyncio.Queue[list[Any]] = asyncio.Queue()
        self.session = relay.connect(self, lambda url: True)

    def wake(self) -> None:
        asyncio.get_running_loop().call_soon(self._take)

    async def drained(self) -> None:
        await self.moving.wait()

    def _take(self) -> None:
        for message in self.session.outbox():
            self.heard.put_nowait(json.loads(message))

    def say(self, *parts: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
        self.relay.receive(self.session, json.dumps(parts).encode(), "client test")

    def publish(self, event: Event) -> None:
        self.relay.receive(self.session, event_message(event), "client test")

    async def hear(self, count: int = 1) -> list[list[Any]]:
        return [await self.heard.get() for _ in range(count)]

    async def stored(self, name: str, *filters: dict[str, Any]) -> list[str]:
        """Ids up to EOSE."""
        self.say("REQ", name, *filters)
        found = []
        while (message := await self.heard.get())[0] == "EVENT":
            assert message[1] == name
            found.append(message[2]["id"])
        assert message[:2] == ["EOSE", name]
        return found


@asynccontextmanager
async def bench(
    store: EventStore | None = None, access: Access | None = None, config: RelaySection | None = None
) -> AsyncIterator[Bench]:
    quiet = config or RelaySection(rate_limits=False)
    made = Bench(store or MemoryEventStore(Clock()), access or Public(), quiet)
    await made.relay.start()
    try:
        yield made
    finally:
        await made.relay.stop()


def notes(count: int) -> list[Event]:
    return [signed(content=str(n), created_at=NOW + n) for n in range(count)]


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


async def test_what_can_never_match_ends_at_once() -> None:
    async with bench() as b:
        await b.relay.publish(signed())
        client = b.client()
        assert await client.stored("s", {"kinds": []}, {"since": 2, "until": 1}) == []
        await b.relay.publish(signed(content="more"))
        assert await client.stored("t", {"limit": 1}) != []


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


async def test_a_closed_subscription_hears_nothing_more() -> None:
    async with bench() as b:
        client = b.client()
        await client.stored("s", {})
        client.say("CLOSE", "s")
        await b.relay.publish(signed())
        assert client.heard.empty()
        assert b.relay.status().subscriptions == 0


async def test_a_connection_that_ends_leaves_nothing() -> None:
    async with bench() as b:
        client = b.client()
        await client.stored("s", {})
        client.publish(signed())
        b.relay.disconnect(client.session)
        assert await b.relay.publish(signed(content="more")) == ACCEPTED
        assert (b.relay.status().clients, b.relay.status().subscriptions) == (0, 0)
        assert len(await b.relay.query([Filter()])) == 2


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


async def test_large_answers_come_in_pages_as_the_client_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "PAGE_BYTES", 1000)
    monkeypatch.setattr(store, "FIRST_KEYS", 2)
    monkeypatch.setattr(store, "MORE_KEYS", 2)
    async with bench() as b:
        events = notes(30)
        await b.relay.publish_many(events)
        client = b.client()
        client.moving.clear()
        client.say("REQ", "s", {})
        first = await client.hear(3)
        assert {message[0] for message in first} == {"EVENT"}
        assert client.heard.empty()
        # Live events wait; what is deleted meanwhile is left out.
        late = signed(content="late", created_at=NOW + 99)
        await b.relay.publish_many([late, signed(kind=5, tags=(("e", events[0].id),))])
        client.moving.set()
        rest = await client.hear(26 + 1 + 2)
        found = [message[2]["id"] for message in first + rest[:26]]
        assert found == [event.id for event in events[:0:-1]]
        assert rest[26] == ["EOSE", "s", ["finish"]]
        assert rest[27][2]["id"] == late.id
        assert rest[28][2]["kind"] == 5


async def test_paging_ends_with_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "PAGE_BYTES", 1)
    monkeypatch.setattr(store, "FIRST_KEYS", 1)
    async with bench() as b:
        await b.relay.publish_many(notes(5))
        client = b.client()
        client.moving.clear()
        client.say("REQ", "s", {})
        await client.hear()
        b.relay.disconnect(client.session)
        client.moving.set()
        assert b.relay._answering is not None
        await asyncio.gather(*b.relay._answering._pages)
        assert client.heard.empty()


class Unreadable(MemoryEventStore):
    def __init__(self, error: Exception) -> None:
        super().__init__(Clock())
        self.error = error

    def select(self, filters: Sequence[Filter], cap: int) -> Selection:
        raise self.error


async def test_a_failing_query_is_closed_in_words() -> None:
    async with bench(Unreadable(Unavailable("The disk is gone.", hint="Look for it."))) as b:
        client = b.client()
        client.say("REQ", "s", {})
        assert await client.hear() == [["CLOSED", "s", "error: The disk is gone. Look for it."]]
        assert b.relay.status().subscriptions == 0


async def test_a_bug_in_a_query_is_closed_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with bench(Unreadable(ZeroDivisionError("bug"))) as b:
        client = b.client()
        client.say("REQ", "s", {})
        assert await client.hear() == [["CLOSED", "s", "error: an internal error; ask again"]]
    assert "a query failed" in caplog.text


async def test_a_bug_in_a_later_page_is_closed_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Breaking(MemoryEventStore):
        pages = 0

        def fetch(self, keys: Sequence[int]) -> list[bytes]:
            self.pages += 1
            if self.pages > 1:
                raise ZeroDivisionError("bug")
            return super().fetch(keys)

    monkeypatch.setattr(answering, "PAGE_BYTES", 1)
    monkeypatch.setattr(store, "FIRST_KEYS", 1)
    async with bench(Breaking(Clock())) as b:
        await b.relay.publish_many(notes(3))
        client = b.client()
        client.say("REQ", "s", {})
        assert (await client.hear(2))[1] == ["CLOSED", "s", "error: an internal error; ask again"]
        assert b.relay.status().subscriptions == 0
    assert "a query failed" in caplog.text


async def test_questions_that_were_given_up_cost_the_store_nothing() -> None:
    """Else a client that closes what it opens, or leaves, could have any number of them under way."""

    class Slow(MemoryEventStore):
        go_on = threading.Event()
        selected = counted = 0

        def select(self, filters: Sequence[Filter], cap: int) -> Selection:
            self.selected += 1
            self.go_on.wait()
            return super().select(filters, cap)

        def tally(self, filters: Sequence[Filter], cap: int) -> Tally:
            self.counted += 1
            self.go_on.wait()
            return super().tally(filters, cap)

    slow = Slow(Clock())
    async with bench(slow) as b:
        fickle, leaving = b.client(), b.client()
        for number in range(50):
            fickle.say("REQ", str(number), {})
            fickle.say("CLOSE", str(number))
            leaving.say("COUNT", str(number), {})
        b.relay.disconnect(leaving.session)
        Slow.go_on.set()
        other = b.client()
        assert await other.stored("s", {}) == []
        other.say("COUNT", "q", {})
        assert await other.hear() == [["COUNT", "q", {"count": 0}]]
        assert slow.selected <= 3  # two threads may have begun
        assert slow.counted <= 2


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


# --- NIP-67: whether everything stored was given -----------------------------------------------------


@pytest.mark.parametrize(
    ("filters", "hint"),
    [
        ([{}], ["finish"]),
        ([{"limit": 4}], ["finish"]),
        ([{"limit": 2}], ["more"]),
        ([{"kinds": [7]}], ["finish"]),
        ([{"kinds": [7]}, {"limit": 1}], ["more"]),
        ([{"ids": []}], ["finish"]),
        ([{"ids": []}, {"since": 2, "until": 1}], ["finish"]),
        ([{"limit": 0}], None),
        ([{}, {"limit": 0}], None),
        ([{"limit": 0}, {"limit": 1}], ["more"]),
        ([{"ids": [], "limit": 0}, {}], ["finish"]),
    ],
)
async def test_nip67_eose_says_for_the_whole_subscription_whether_anything_was_cut(
    filters: list[dict[str, Any]], hint: list[str] | None
) -> None:
    async with bench() as b:
        await b.relay.publish_many([signed(content=str(number)) for number in range(3)])
        client = b.client()
        client.say("REQ", "s", *filters)
        while (message := await client.heard.get())[0] == "EVENT":
            pass
        assert message == ["EOSE", "s", *([hint] if hint else [])]


async def test_nip67_the_owners_limit_cuts_too() -> None:
    async with bench(config=RelaySection(max_limit=2)) as b:
        await b.relay.publish_many([signed(content=str(number)) for number in range(3)])
        client = b.client()
        client.say("REQ", "s", {"limit": 100})
        assert (await client.hear(3))[-1] == ["EOSE", "s", ["more"]]


# --- NIP-01: stored and live, each event once --------------------------------------------------------


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


# --- NIP-59: wraps reach those they are addressed to, and nobody else --------------------------------


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


# --- Refusals are counted ----------------------------------------------------------------------------


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
