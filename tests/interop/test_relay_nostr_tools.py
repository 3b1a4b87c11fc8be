"""The relay against nostr-tools, the library of most web clients, on Node.js."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from meshconsole.node.listbook import ListBook
from meshconsole.node.managing import Managing
from meshconsole.node.state import NodeState
from meshconsole.relay.relay import Relay
from meshconsole.relay.server import RelayServer
from meshconsole.relay.sqlite import SqliteEventStore
from tests.interop.clients import client, needs, relay
from tests.relay.making import KEY, NOW, TAG_KEY, Members, Public, npub, unsigned

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.interop.clients import Outsider

pytestmark = needs("nostr-tools")


def tools(url: str, name: str = "alice") -> AbstractAsyncContextManager[Outsider]:
    return client("relay_client.mjs", url, name)


async def test_publish_query_follow(tmp_path: Path) -> None:
    async with relay(tmp_path, Public()) as url, tools(url) as alice, tools(url, "bob") as bob:
        for n in range(3):
            await alice.publish(content=f'{n} é 漢 😀 "\\\n\x01\x7f', at=1000 + n, tags=[["t", "x"]])
        assert [content[0] for content in await bob.query({"#t": ["x"]})] == ["2", "1", "0"]
        assert await bob.query({"authors": [npub("alice")], "limit": 1}) == ['2 é 漢 😀 "\\\n\x01\x7f']
        assert await bob.query({"#t": ["y"]}, {"kinds": []}) == []
        assert await bob.do("follow", filters=[{"kinds": [1], "limit": 0}]) == "following"
        sent = await alice.publish(content="live")
        assert [event["id"] for event in await bob.do("heard", count=1)] == [sent]


async def test_replace_and_delete(tmp_path: Path) -> None:
    async with relay(tmp_path, Public()) as url, tools(url) as alice:
        for n in range(2):
            await alice.publish(30023, f"version {n}", 1000 + n, [["d", "x"]])
        assert await alice.query({"kinds": [30023], "#d": ["x"]}) == ["version 1"]
        gone = await alice.publish(content="gone")
        await alice.publish(5, "", 2000, [["e", gone], ["a", f"30023:{npub('alice')}:x"]])
        assert await alice.query({"kinds": [1, 30023]}) == []


async def test_refusals_reach_the_client(tmp_path: Path) -> None:
    async with relay(tmp_path, Public()) as url, tools(url) as alice:
        refused = await alice.ask("query", filters=[{"nonsense": "x"}])
        assert "unsupported: " in refused["error"]
        template = {"kind": 1, "content": "", "created_at": 1, "tags": [["expiration", "2"]]}
        refused = await alice.ask("publish", template=template)
        assert "the event has expired" in refused["error"]


async def test_log_in(tmp_path: Path) -> None:
    async with relay(tmp_path, Members({npub("alice")})) as url:
        async with tools(url) as alice:
            refused = await alice.ask("query", filters=[{}])
            assert "auth-required: " in refused["error"]
            await alice.do("auth")
            await alice.publish(content="hello")
            assert await alice.query({}) == ["hello"]
        async with tools(url, "mallory") as mallory:
            await mallory.do("auth")
            refused = await mallory.ask("query", filters=[{}])
            assert "restricted: " in refused["error"]


@pytest.mark.parametrize("frame", [4096, 60_000])
async def test_reconcile(tmp_path: Path, frame: int) -> None:
    events = [unsigned(content=str(n), created_at=NOW + n % 300) for n in range(2600)]
    ours, theirs = events[:2500], events[600:]
    async with relay(tmp_path, Public(), ours) as url, tools(url) as alice:
        items = [(event.created_at, event.id) for event in theirs]
        found = await alice.do("sync", filter={"kinds": [1]}, items=items, frame=frame)
        assert sorted(found["have"]) == sorted(event.id for event in events[2500:])
        assert sorted(found["need"]) == sorted(event.id for event in events[:600])
        assert found["rounds"] > (6 if frame == 4096 else 1)
        assert await alice.do("sync", filter={"kinds": [7]}, items=[], frame=frame) == {
            "have": [],
            "need": [],
            "rounds": 1,
        }


async def test_manage(tmp_path: Path) -> None:
    state = NodeState(tmp_path / "state.db", KEY)
    book = ListBook(state)
    store = SqliteEventStore(tmp_path / "node.db", KEY, TAG_KEY)
    service = Relay(store, access=Public(), emit=lambda _: None, lists=lambda: book.current)
    acts: list[str] = []
    managing = Managing(
        book=book,
        state=state,
        relay=service,
        may_manage=lambda key: key == npub("alice"),
        takes_two=lambda: False,
        record=lambda act, **_: acts.append(act),
        changed=lambda _: None,
        clock=time.time,
    )
    server = RelayServer(service, host="127.0.0.1", port=0, manage=managing.answer)
    await service.start()
    await server.start()
    url = f"ws://{server.addresses[0]}"
    async with tools(url) as alice, tools(url, "mallory") as mallory:
        named = await alice.do("manage", method="changerelayname", params=["Hut"])
        assert named == {"status": 200, "result": True}
        assert (await alice.do("information"))["name"] == "Hut"
        banned = await alice.do("manage", method="banpubkey", params=[npub("mallory"), "spam"])
        assert banned == {"status": 200, "result": True}
        refused = await mallory.ask(
            "publish", template={"kind": 1, "content": "", "created_at": 1, "tags": []}
        )
        assert "blocked: " in refused["error"]
        assert (await mallory.do("manage", method="unbanpubkey", params=[npub("mallory")]))["status"] == 403
    assert acts == ["relay-changerelayname", "relay-banpubkey"]
    await server.stop()
    await service.stop()
    store.close()
    state.close()


async def test_count_and_search(tmp_path: Path) -> None:
    async with relay(tmp_path, Public()) as url, tools(url) as alice:
        await alice.publish(content="The bridge is open")
        await alice.publish(content="Water at the school", at=1001)
        assert await alice.do("count", filters=[{}, {"kinds": [1]}]) == 2
        assert await alice.query({"search": "BRIDGE open"}) == ["The bridge is open"]
        refused = await alice.ask("count", filters=[{"kinds": ["x"]}])
        assert "invalid: " in refused["error"]


async def test_gift_wraps_reach_their_reader_alone(tmp_path: Path) -> None:
    team = Members({npub("alice"), npub("bob")})
    async with relay(tmp_path, team) as url, tools(url) as alice, tools(url, "bob") as bob:
        for one in (alice, bob):
            assert "auth-required: " in (await one.ask("query", filters=[{}]))["error"]
            await one.do("auth")
        wrap = await alice.do("wrap", to=npub("bob"), content="for bob alone")
        found = await bob.do("query", filters=[{"kinds": [1059], "#p": [npub("bob")]}])
        assert await bob.do("unwrap", wraps=found) == ["for bob alone"]
        assert await alice.query({"ids": [wrap["id"]]}) == []
        assert (
            "restricted: "
            in (await alice.ask("query", filters=[{"kinds": [1059], "#p": [npub("bob")]}]))["error"]
        )
        assert await alice.do("count", filters=[{"ids": [wrap["id"]]}]) == 0


async def test_requests_to_vanish_are_followed(tmp_path: Path) -> None:
    async with relay(tmp_path, Public()) as url, tools(url) as alice:
        await alice.publish(content="gone")
        await alice.publish(62, "", 2000, [["relay", url]])
        assert await alice.query({"kinds": [1]}) == []
        refused = await alice.ask(
            "publish", template={"kind": 1, "content": "gone", "created_at": 1000, "tags": []}
        )
        assert "blocked: " in refused["error"]


async def test_relay_information(tmp_path: Path) -> None:
    async with relay(tmp_path, Public()) as url, tools(url) as alice:
        told = await alice.do("information")
        assert told["name"] == "pi four"
        assert 42 in told["supported_nips"]
