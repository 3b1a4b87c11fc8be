"""The relay against NDK, on Node.js: publish, query, follow, log in, count, search, delete, gift wraps."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tests.interop.clients import client, needs, relay
from tests.relay.making import Members, Public, npub

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs("@nostr-dev-kit/ndk")
ndk = partial(client, "ndk_client.mjs")


async def test_publish_query_follow(tmp_path: Path) -> None:
    async with relay(tmp_path, Public()) as url, ndk(url, "alice") as alice, ndk(url, "bob") as bob:
        for n in range(3):
            await alice.publish(content=f'{n} é 漢 😀 "\\\n\x01\x7f', at=1000 + n, tags=[["t", "x"]])
        assert [content[0] for content in await bob.query({"#t": ["x"]})] == ["2", "1", "0"]
        assert await bob.query({"authors": [npub("alice")], "limit": 1}) == ['2 é 漢 😀 "\\\n\x01\x7f']
        assert await bob.do("follow", filters=[{"kinds": [1], "limit": 0}]) == "following"
        sent = await alice.publish(content="live", at=2000)
        assert [event["id"] for event in await bob.do("heard", count=1)] == [sent]


async def test_count_and_search(tmp_path: Path) -> None:
    async with relay(tmp_path, Public()) as url, ndk(url, "alice") as alice, ndk(url, "bob") as bob:
        target = await alice.publish(content="The bridge is open")
        await alice.publish(content="Water at the school", at=1001)
        for one in (alice, bob):
            await one.publish(7, "+", 1002, [["e", target]])
        assert (await bob.do("count", filters=[{"kinds": [1]}, {"kinds": [1, 7]}]))["count"] == 4
        reactions = await bob.do("count", filters=[{"kinds": [7], "#e": [target]}])
        assert reactions == {"count": 2, "merged": True}, "its registers give the same estimate"
        assert await bob.query({"search": "bridge"}) == ["The bridge is open"]
        assert await bob.query({"search": "bridge school"}) == []


async def test_replace_and_delete(tmp_path: Path) -> None:
    async with relay(tmp_path, Public()) as url, ndk(url, "alice") as alice:
        for n in range(2):
            await alice.publish(30023, f"version {n}", 1000 + n, [["d", "x"]])
        assert await alice.query({"kinds": [30023], "#d": ["x"]}) == ["version 1"]
        gone = await alice.publish(content="gone")
        await alice.publish(5, "", 2000, [["e", gone], ["a", f"30023:{npub('alice')}:x"]])
        assert await alice.query({"kinds": [1, 30023]}) == []


async def test_refusals_reach_the_client(tmp_path: Path) -> None:
    async with relay(tmp_path, Public()) as url, ndk(url, "alice") as alice:
        template = {"kind": 1, "content": "", "created_at": 1, "tags": [["expiration", "2"]]}
        refused = await alice.ask("publish", template=template)
        assert "the event has expired" in refused["error"]


async def test_a_member_logs_in_and_a_gift_wrap_reaches_its_reader_alone(tmp_path: Path) -> None:
    team = Members({npub("alice"), npub("bob"), npub("carol")})
    async with (
        relay(tmp_path, team) as url,
        ndk(url, "alice", "login") as alice,
        ndk(url, "bob", "login") as bob,
        ndk(url, "carol", "login") as carol,
    ):
        await alice.publish(content="hello")
        assert await bob.query({}) == ["hello"]
        wrap = await alice.do("wrap", to=npub("bob"), content="for bob alone")
        assert await bob.do("unwrap") == ["for bob alone"]
        assert await carol.do("unwrap") == []
        assert await carol.query({"ids": [wrap["id"]]}) == []
        assert (await carol.do("count", filters=[{"ids": [wrap["id"]]}]))["count"] == 0
        await bob.publish(5, "", 2000, [["e", wrap["id"]]])
        assert await bob.do("unwrap") == [], "its reader may delete it"
