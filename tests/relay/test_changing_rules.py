"""Rules that change while clients are connected hold for what is open already, and are told as others are."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec.structs import replace

from meshconsole.core.kinds import ROSTER_ENTRY, TEAM_NOTE
from meshconsole.core.sections import RelaySection
from meshconsole.core.verdict import ACCEPTED, Verdict, refuse
from meshconsole.relay import answering
from tests.relay.making import Clock, Members, npub, raw, signed
from tests.relay.memory import MemoryEventStore
from tests.relay.relay_bench import FakeClient, bench, notes

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pytest

    from meshconsole.relay.filter import Filter
    from meshconsole.relay.store import Answer, Item, Tally


@dataclass
class Changing:
    """Everybody may come in, until nobody may who has not logged in."""

    is_public: bool = True
    devices: set[str] = field(default_factory=set)

    def public(self) -> bool:
        return self.is_public

    def may_read(self, npubs: Collection[str]) -> Verdict:
        return ACCEPTED if self.is_public or npubs else refuse("auth-required", "say who you are")

    may_write = may_read

    def is_device(self, npubs: Collection[str]) -> bool:
        return bool(self.devices.intersection(npubs))


async def log_in(client: FakeClient, name: str, challenge: str) -> None:
    login = signed(name, 22242, (("relay", "ws://here"), ("challenge", challenge)))
    client.say("AUTH", json.loads(raw(login)))
    assert (await client.hear())[0][2] is True


async def test_nip42_who_must_log_in_from_now_on_is_given_a_challenge() -> None:
    access = Changing()
    async with bench(access=access) as b:
        client = b.client()
        assert await client.stored("s", {}) == []
        access.is_public = False
        await b.relay.publish(signed())
        (challenge, closed) = await client.hear(2)
        assert challenge[0] == "AUTH"
        assert closed == ["CLOSED", "s", "auth-required: say who you are"]
        await log_in(client, "alice", challenge[1])
        assert len(await client.stored("s", {})) == 1


async def test_a_search_ends_when_search_is_switched_off() -> None:
    async with bench() as b:
        client = b.client()
        assert await client.stored("search", {"search": "hello"}) == []
        assert await client.stored("other", {}) == []
        b.relay.apply(replace(b.relay.config, search=False))
        assert await client.hear() == [["CLOSED", "search", "unsupported: search is not offered here"]]
        await b.relay.publish(signed())
        assert [message[:2] for message in await client.hear()] == [["EVENT", "other"]]
        assert len(b.relay._live) == 1


async def test_what_only_devices_see_ends_when_the_key_is_no_devices_any_more() -> None:
    access = Changing(devices={npub("alice")})
    async with bench(access=access) as b:
        b.relay.house.is_device = access.is_device
        client = b.client()
        access.is_public = False
        client.say("REQ", "s", {})
        await log_in(client, "alice", (await client.hear(2))[0][1])
        assert await client.stored("s", {}) == []
        client.say("NEG-OPEN", "n", {}, "6100000200")
        assert (await client.hear())[0][0] == "NEG-MSG"
        sealed = signed(kind=TEAM_NOTE)
        await b.relay.publish(sealed, trusted=True)
        assert (await client.hear())[0][2]["id"] == sealed.id
        access.devices.clear()
        b.relay.apply(b.relay.config)
        assert await client.hear() == [["NEG-ERR", "n", "closed: what you may see here has changed"]]
        await b.relay.publish(signed(kind=TEAM_NOTE, content="later"), trusted=True)
        plain = signed()
        await b.relay.publish(plain)
        assert (await client.hear())[0][2]["id"] == plain.id


async def test_a_key_that_has_become_a_devices_hears_more_without_asking_again() -> None:
    access = Changing()
    async with bench(access=access) as b:
        b.relay.house.is_device = access.is_device
        client = b.client()
        access.is_public = False
        client.say("REQ", "s", {})
        await log_in(client, "alice", (await client.hear(2))[0][1])
        assert await client.stored("s", {}) == []
        access.devices.add(npub("alice"))
        b.relay.apply(b.relay.config)
        await b.relay.publish(signed(kind=ROSTER_ENTRY), trusted=True)
        sealed = signed(kind=TEAM_NOTE)
        await b.relay.publish(sealed, trusted=True)
        assert (await client.hear())[0][2]["id"] == sealed.id


async def test_a_member_who_is_removed_while_it_reads_gets_no_further_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answering, "PAGE_BYTES", 1)
    access = Members({npub("alice")})
    async with bench(access=access) as b:
        await b.relay.publish_many(notes(100), via="local")
        client = b.client()
        await log_in(client, "alice", (await client.hear())[0][1])
        client.moving.clear()
        client.say("REQ", "s", {})
        first = await client.hear()
        assert first[0][0] == "EVENT"
        access.npubs.clear()
        client.moving.set()
        given = 1
        while (message := (await client.hear())[0])[0] == "EVENT":
            given += 1
        assert message == ["CLOSED", "s", "restricted: members only"]
        assert given < 100
        assert len(b.relay._live) == 0


async def test_a_member_who_is_removed_while_it_waits_for_an_answer_gets_none() -> None:
    """Whatever it asked: the answer may be there only when it is removed already."""
    access = Members({npub("alice")})
    held, go_on = threading.Barrier(4), threading.Event()

    class Waiting(MemoryEventStore):
        def answer(self, filters: Sequence[Filter], cap: int, size: int) -> Answer:
            self.wait()
            return super().answer(filters, cap, size)

        def tally(self, filters: Sequence[Filter], cap: int) -> Tally:
            self.wait()
            return super().tally(filters, cap)

        def items(self, wanted: Filter, cap: int) -> list[Item]:
            self.wait()
            return super().items(wanted, cap)

        def wait(self) -> None:
            held.wait(10)
            go_on.wait(10)

    async with bench(Waiting(Clock()), access=access) as b:
        await b.relay.publish(signed())
        client = b.client()
        await log_in(client, "alice", (await client.hear())[0][1])
        client.say("REQ", "s", {})
        client.say("COUNT", "c", {})
        client.say("NEG-OPEN", "n", {}, "6100000200")
        await asyncio.to_thread(held.wait, 10)
        access.npubs.clear()
        go_on.set()
        said = sorted(await client.hear(3))
        assert said == [
            ["CLOSED", "c", "restricted: members only"],
            ["CLOSED", "s", "restricted: members only"],
            ["NEG-ERR", "n", "restricted: members only"],
        ]


async def test_limits_change_for_connections_that_are_open() -> None:
    async with bench() as b:
        client = b.client()
        assert await client.stored("one", {}) == []
        b.relay.apply(RelaySection(rate_limits=False, max_subscriptions=1, max_filters=1))
        client.say("REQ", "two", {})
        client.say("REQ", "one", {}, {})
        assert [message[2].partition(":")[0] for message in await client.hear(2)] == [
            "rate-limited",
            "invalid",
        ]
