"""The stored part of an answer: in pages, failing in words, and whether all there is was given (NIP-67)."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from meshconsole.core.errors import Unavailable
from meshconsole.core.sections import RelaySection
from meshconsole.relay import answering, store
from tests.relay.making import NOW, Clock, signed
from tests.relay.memory import MemoryEventStore
from tests.relay.relay_bench import bench, notes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshconsole.relay.filter import Filter
    from meshconsole.relay.store import Selection, Tally


async def test_what_can_never_match_ends_at_once() -> None:
    async with bench() as b:
        await b.relay.publish(signed())
        client = b.client()
        assert await client.stored("s", {"kinds": []}, {"since": 2, "until": 1}) == []
        await b.relay.publish(signed(content="more"))
        assert await client.stored("t", {"limit": 1}) != []


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


async def test_nip40_what_expires_while_the_client_takes_its_time_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answering, "PAGE_BYTES", 1)
    monkeypatch.setattr(store, "FIRST_KEYS", 1)
    async with bench() as b:
        soon = (("expiration", str(NOW + 60)),)
        events = [signed(content=str(n), created_at=NOW + n, tags=soon if n % 2 else ()) for n in range(6)]
        await b.relay.publish_many(events)
        client = b.client()
        client.moving.clear()
        client.say("REQ", "s", {})
        assert (await client.hear())[0][2]["id"] == events[5].id
        monkeypatch.setattr(b.relay._answering, "_clock", lambda: NOW + 60.0)
        client.moving.set()
        assert [(await client.hear())[0][2]["id"] for _ in range(3)] == [events[n].id for n in (4, 2, 0)]
        assert (await client.hear())[0][0] == "EOSE"


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
