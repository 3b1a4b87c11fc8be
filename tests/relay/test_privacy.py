"""Whatever way is asked, the same is seen: REQ, ids, tags, search, COUNT, reconciliation and live delivery.

NIP-17, NIP-42, NIP-59 and the team's own kinds, over a relay on each store.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from meshconsole.relay.filter import Filter
from meshconsole.relay.hyperloglog import registers_of
from meshconsole.relay.items import ItemVector
from meshconsole.relay.negentropy import Initiator
from meshconsole.relay.verbs.count import register_offset
from tests.relay.making import NOW, Clock, Members, npub, raw, signed
from tests.relay.relay_bench import bench

if TYPE_CHECKING:
    from tests.relay.conftest import MakeStore
    from tests.relay.relay_bench import Bench, FakeClient

EVENTS = {
    "note": signed("alice", 1, (("p", npub("bob")),), "word"),
    "wrap": signed("one-time", 1059, (("p", npub("bob")),), "word", NOW - 100_000),
    "team": signed("alice", 4202, (("p", npub("bob")),), "word"),
    "roster": signed("alice", 4201, (("p", npub("bob")),), "word"),
    "expired": signed("alice", 1, (("p", npub("bob")), ("expiration", str(NOW + 5))), "word"),
}
NAMES = {event.id: name for name, event in EVENTS.items()}
PASSING = signed("one-time", 21059, (("p", npub("bob")),), "word")
SEEN = {
    (): {"note"},
    ("alice",): {"note"},
    ("bob",): {"note", "wrap"},
    ("alice", "bob"): {"note", "wrap"},
}


def seen(keys: tuple[str, ...], name: str) -> set[str]:
    """There are no words to be found in what is sealed."""
    return SEEN[keys] - {"wrap"} if name == "search" else SEEN[keys]


QUESTIONS: dict[str, list[dict[str, Any]]] = {
    "all": [{}],
    "ids": [{"ids": list(NAMES)}],
    "one id each": [{"ids": [event_id]} for event_id in NAMES],
    "tag": [{"#p": [npub("bob")]}],
    "authors": [{"authors": [npub("alice"), npub("one-time")]}],
    "kinds": [{"kinds": [1, 1059, 4201, 4202]}],
    "search": [{"search": "word"}],
    "mixed": [{"kinds": [1]}, {"kinds": [1059], "limit": 5}],
}


async def ask(client: FakeClient, filters: list[dict[str, Any]]) -> set[str]:
    client.say("REQ", "q", *filters)
    found = set()
    while (message := await client.heard.get())[0] == "EVENT":
        found.add(NAMES[message[2]["id"]])
    assert message[0] == "EOSE", message
    client.say("CLOSE", "q")
    return found


async def count(client: FakeClient, filters: list[dict[str, Any]]) -> int:
    client.say("COUNT", "q", *filters)
    return int((await client.hear())[0][2]["count"])


async def reconcile(client: FakeClient, wanted: dict[str, Any]) -> set[str]:
    mine = Initiator(ItemVector([]))
    client.say("NEG-OPEN", "n", wanted, mine.begin().hex())
    found: set[str] = set()
    while True:
        answer = (await client.hear())[0]
        assert answer[0] == "NEG-MSG", answer
        step = mine.receive(bytes.fromhex(answer[2]))
        found.update(NAMES[event_id.hex()] for event_id in step.need)
        if step.reply is None:
            return found
        client.say("NEG-MSG", "n", step.reply.hex())


@pytest.mark.parametrize("keys", SEEN, ids=" ".join)
async def test_every_way_of_asking_shows_the_same(make_store: MakeStore, keys: tuple[str, ...]) -> None:
    clock = Clock()
    with make_store(clock) as store:
        async with bench(store) as b:
            await b.relay.publish_many(list(EVENTS.values()), trusted=True)
            clock.now += 10
            client = b.client()
            client.session.client.npubs = tuple(map(npub, keys))
            for name, filters in QUESTIONS.items():
                assert await ask(client, filters) == seen(keys, name), name
                assert await count(client, filters) == len(seen(keys, name)), name
                for wanted in filters:
                    if name not in ("search", "mixed", "one id each"):
                        assert await reconcile(client, wanted) == SEEN[keys], name


@pytest.mark.parametrize("keys", SEEN, ids=" ".join)
async def test_registers_tell_of_nothing_that_is_not_shown(keys: tuple[str, ...]) -> None:
    """NIP-45: the authors of hidden events would show in a count's HyperLogLog."""
    async with bench() as b:
        await b.relay.publish_many(list(EVENTS.values()), trusted=True)
        client = b.client()
        client.session.client.npubs = tuple(map(npub, keys))
        client.say("COUNT", "q", {"#p": [npub("bob")]})
        registers = bytes.fromhex((await client.hear())[0][2]["hll"])
        offset = register_offset([Filter(tags=(("p", frozenset({npub("bob")})),))])
        assert offset is not None
        shown = [event for event in EVENTS.values() if NAMES[event.id] in SEEN[keys] | {"expired"}]
        assert registers == registers_of([bytes.fromhex(event.pubkey) for event in shown], offset)
        assert (registers != registers_of([bytes.fromhex(npub("alice"))], offset)) is ("bob" in keys)


@pytest.mark.parametrize("keys", SEEN, ids=" ".join)
async def test_live_delivery_shows_the_same(keys: tuple[str, ...]) -> None:
    async with bench() as b:
        client = b.client()
        client.session.client.npubs = tuple(map(npub, keys))
        for name, filters in QUESTIONS.items():
            assert await ask(client, filters) == set()
            client.say("REQ", name, *[{**wanted, "limit": 0} for wanted in filters])
            await client.hear()
        await b.relay.publish_many([*EVENTS.values(), PASSING], trusted=True)
        for _ in range(10):
            await asyncio.sleep(0)
        heard: dict[str, set[str]] = {name: set() for name in QUESTIONS}
        while not client.heard.empty():
            _, name, event = client.heard.get_nowait()
            heard[name].add("passing" if event["kind"] == 21059 else NAMES[event["id"]])
        for name, found in heard.items():
            assert found - {"passing", "expired"} == seen(keys, name), name
            assert "passing" not in found or "bob" in keys
        assert ("passing" in heard["tag"]) is ("bob" in keys)


async def questions_are_refused(b: Bench, client: FakeClient, code: str) -> None:
    client.say("REQ", "q", {})
    client.say("COUNT", "c", {})
    client.say("NEG-OPEN", "n", {}, Initiator(ItemVector([])).begin().hex())
    client.publish(signed(content="mine"))
    answers = [message for message in await client.hear(4) if message[0] != "AUTH"]
    assert [answer[0] for answer in answers] == ["CLOSED", "CLOSED", "NEG-ERR", "OK"]
    for answer in answers:
        assert answer[-1].startswith(f"{code}: "), answer


async def test_members_only_means_every_way_of_asking_and_of_publishing() -> None:
    async with bench(access=Members({npub("alice")})) as b:
        await b.relay.publish_many(list(EVENTS.values()), trusted=True)
        stranger = b.client()
        challenge = (await stranger.hear())[0][1]
        await questions_are_refused(b, stranger, "auth-required")
        await log_in(stranger, "mallory", challenge)
        await questions_are_refused(b, stranger, "restricted")
        await log_in(stranger, "alice", challenge)  # several keys on one connection: any of them will do
        assert await ask(stranger, [{}]) == {"note", "expired"}


async def test_a_member_who_is_removed_is_refused_everywhere_and_at_once() -> None:
    access = Members({npub("alice")})
    async with bench(access=access) as b:
        client = b.client()
        await log_in(client, "alice", (await client.hear())[0][1])
        client.say("REQ", "open", {})
        await client.hear()
        access.npubs.clear()
        await questions_are_refused(b, client, "restricted")
        await b.relay.publish(signed(content="after"))
        assert (await client.hear())[0][:2] == ["CLOSED", "open"]


async def log_in(client: FakeClient, name: str, challenge: str) -> None:
    login = signed(name, 22242, (("relay", "ws://here"), ("challenge", challenge)))
    client.say("AUTH", json.loads(raw(login)))
    assert (await client.hear())[0][2] is True


@pytest.mark.parametrize("kind", [0, 3, 10002, 10013, 10050])
async def test_nip65_members_publish_their_lists_of_relays(kind: int) -> None:
    tags = (("r", "wss://one.example"), ("relay", "wss://two.example"))
    async with bench(access=Members({npub("alice")})) as b:
        client = b.client()
        await log_in(client, "alice", (await client.hear())[0][1])
        old, new = (signed("alice", kind, tags, str(n), NOW + n) for n in range(2))
        for event in (new, old):
            client.publish(event)
        answers = await client.hear(2)
        assert [answer[2] for answer in answers] == [True, False]
        found: list[str] = []
        client.say("REQ", "s", {"authors": [npub("alice")], "kinds": [kind]})
        while (message := await client.heard.get())[0] == "EVENT":
            found.append(message[2]["id"])
        assert found == [new.id]
