"""The pinning service: requests, their states, filters, tokens, and what is refused."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from meshconsole.content.formats.cid import RAW, Cid
from meshconsole.content.store.roots import Pin
from meshconsole.core.errors import Refused
from meshconsole.core.sections import EdgeSection
from meshconsole.edge.edge import Edge, Part, below
from meshconsole.edge.messages import HttpError, Reply, Request
from meshconsole.edge.pin_book import PinBook
from meshconsole.edge.pinning import Pinning
from meshconsole.edge.tables import Tables
from meshconsole.edge.tokens import Tokens, bearer
from tests.content.conftest import KEY, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from meshconsole.content.service import Content

NOW = 1_800_000_000.0
DELEGATE = "/ip4/127.0.0.1/tcp/7480/http/p2p/12D3KooWme"


@dataclass
class Service:
    content: Content
    pinning: Pinning
    tokens: dict[str, str] = field(default_factory=dict)
    most: list[int] = field(default_factory=lambda: [0])

    async def ask(
        self, method: str, target: str = "", body: object = None, who: str = "ridge"
    ) -> tuple[int, Any]:
        path, _, query = f"/pins{target}".partition("?")
        told = {"authorization": f"Bearer {self.tokens[who]}"} if who in self.tokens else {}
        given = body if isinstance(body, bytes) else msgspec.json.encode(body) if body is not None else b""
        reply = await self.pinning.handle(Request(method, path, query, told, _stream(given)))
        assert isinstance(reply.body, bytes)
        return reply.status, msgspec.json.decode(reply.body) if reply.body else None

    async def add(self, data: bytes) -> str:
        return (await self.content.add([data], "", pinned=False)).cid

    async def names(self, query: str) -> list[str]:
        status, told = await self.ask("GET", f"?{query}")
        assert status == 200, told
        return [result["pin"]["name"] for result in told["results"]]


async def _stream(data: bytes) -> AsyncIterator[bytes]:
    yield data


@asynccontextmanager
async def service_at(folder: Path) -> AsyncIterator[Service]:
    tables = Tables(folder / "node.db", KEY)
    tokens = Tokens(tables)
    world = World(folder / "blobs")
    most = [0]
    try:
        async with world.content() as content:
            pinning = Pinning(
                content,
                PinBook(tables),
                name_of=lambda text: tokens.name_of(text, NOW),
                delegates=lambda: [DELEGATE],
                owner_bytes=lambda: most[0],
                clock=world.clock,
            )
            made = {name: tokens.make(name, NOW) for name in ("ridge", "base")}
            yield Service(content, pinning, made, most)
    finally:
        tables.close()


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with service_at(tmp_path) as made:
        yield made


async def test_what_is_here_is_pinned_at_once_and_let_go_when_it_is_deleted(service: Service) -> None:
    cid = await service.add(b"a map")
    body = {"cid": cid, "name": "map", "origins": ["/p2p/x"], "meta": {"app": "kubo"}}
    status, told = await service.ask("POST", "", body)
    assert (status, told["status"], told["pin"]) == (202, "pinned", body)
    assert told["delegates"] == [DELEGATE]
    assert told["created"] == "2027-01-15T08:00:00.000000Z"
    assert service.content.roots(cid)[0].pins == (Pin("pinning/ridge"),)
    target = f"/{told['requestid']}"
    assert await service.ask("GET", target) == (200, told)
    assert await service.ask("DELETE", target) == (202, None)
    assert not service.content.is_pinned(cid)
    assert (await service.ask("GET", target))[0] == 404
    assert (await service.ask("DELETE", target))[0] == 404


async def test_what_is_not_here_waits_and_comes_by_other_ways_too(service: Service) -> None:
    wanted = Cid.of(RAW, b"not here yet")
    told = (await service.ask("POST", "", {"cid": str(wanted)}))[1]
    assert (told["status"], told["info"]) == ("queued", {})
    assert service.content.job_state(str(wanted)) is not None
    await service.content.add([b"not here yet"], "", pinned=False)
    async for _ in service.content.fetch(str(wanted)):
        pass
    assert (await service.ask("GET", f"/{told['requestid']}"))[1]["status"] == "pinned"


async def test_deleting_what_waits_ends_its_fetch(service: Service) -> None:
    wanted = str(Cid.of(RAW, b"never comes"))
    told = (await service.ask("POST", "", {"cid": wanted}))[1]
    await service.ask("DELETE", f"/{told['requestid']}")
    assert service.content.job_state(wanted) is None
    assert service.content.roots(wanted) == ()


async def test_two_requests_for_one_cid_are_two_pins(service: Service) -> None:
    cid = await service.add(b"a map")
    first = (await service.ask("POST", "", {"cid": cid, "name": "one"}))[1]
    await service.ask("POST", "", {"cid": cid, "name": "two"})
    await service.ask("DELETE", f"/{first['requestid']}")
    assert service.content.is_pinned(cid, "pinning/ridge")
    assert await service.names("") == ["two"]


async def test_replacing_keeps_the_id(service: Service) -> None:
    old, new = await service.add(b"old"), await service.add(b"new")
    told = (await service.ask("POST", "", {"cid": old, "name": "file"}))[1]
    status, other = await service.ask("POST", f"/{told['requestid']}", {"cid": new, "name": "file"})
    assert (status, other["requestid"], other["pin"]["cid"]) == (202, told["requestid"], new)
    assert not service.content.is_pinned(old)
    assert service.content.is_pinned(new)
    assert (await service.ask("GET", "?status=pinned"))[1]["count"] == 1


async def test_a_token_sees_and_touches_its_own_pins_only(service: Service) -> None:
    cid = await service.add(b"a map")
    told = (await service.ask("POST", "", {"cid": cid}))[1]
    assert (await service.ask("GET", who="base"))[1] == {"count": 0, "results": []}
    for method in ("GET", "POST", "DELETE"):
        assert (await service.ask(method, f"/{told['requestid']}", {"cid": cid}, who="base"))[0] == 404
    await service.ask("POST", "", {"cid": cid}, who="base")
    await service.ask("DELETE", f"/{told['requestid']}")
    assert service.content.roots(cid)[0].pins == (Pin("pinning/base"),)


async def test_filters(service: Service) -> None:
    cids = [await service.add(bytes([number])) for number in range(4)]
    for number, cid in enumerate(cids):
        body = {"cid": cid, "name": f"Map {number}", "meta": {"n": str(number % 2)}}
        await service.ask("POST", "", body)
    await service.ask("POST", "", {"cid": str(Cid.of(RAW, b"away")), "name": "away"})
    assert await service.names("") == ["Map 3", "Map 2", "Map 1", "Map 0"]
    assert await service.names("status=queued") == ["away"]
    assert len(await service.names("status=queued,pinned")) == 5
    assert len(await service.names("status=queued&status=pinned&limit=2")) == 2
    assert (await service.ask("GET", "?limit=2"))[1]["count"] == 4
    assert await service.names(f"cid={cids[0]},{cids[2]}") == ["Map 2", "Map 0"]
    assert await service.names(f"cid={cids[0]}&cid={cids[1]}") == ["Map 1", "Map 0"]
    assert await service.names("name=map%201") == []
    assert await service.names("name=map%201&match=iexact") == ["Map 1"]
    assert await service.names("name=ap&match=partial") == ["Map 3", "Map 2", "Map 1", "Map 0"]
    assert await service.names("name=MAP&match=ipartial&limit=1") == ["Map 3"]
    assert await service.names('meta={"n":"1"}') == ["Map 3", "Map 1"]
    newest = (await service.ask("GET"))[1]["results"]
    assert await service.names(f"before={newest[1]['created']}") == ["Map 1", "Map 0"]
    assert await service.names(f"after={newest[1]['created']}") == ["Map 3"]
    assert await service.names("after=2027-01-15T10:00:00+02:00&limit=1") == ["Map 3"]


@pytest.mark.parametrize(
    "query",
    [
        "cid=nonsense",
        "status=done",
        "limit=0",
        "limit=1001",
        "limit=x",
        "match=regex",
        "meta=[1]",
        "meta={",
        "before=yesterday",
        "cid=" + ",".join(str(Cid.of(RAW, bytes([number]))) for number in range(11)),
    ],
)
async def test_filters_that_are_none(service: Service, query: str) -> None:
    status, told = await service.ask("GET", f"?{query}")
    assert (status, told["error"]["reason"]) == (400, "BAD_REQUEST")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"[" * 10_000,
        {"cid": "nonsense"},
        {"cid": 1},
        {"cid": "bafkreia" * 30},
        {"cid": str(Cid(1, 0x0129, 0x12, bytes(32)))},
        {"cid": str(Cid(1, RAW, 0x1E, bytes(32)))},
        {"cid": str(Cid.of(RAW, b"")), "name": "n" * 256},
        {"cid": str(Cid.of(RAW, b"")), "meta": {"a": 1}},
        {"cid": str(Cid.of(RAW, b"")), "origins": ["x"] * 21},
    ],
)
async def test_what_is_no_pin(service: Service, body: object) -> None:
    status, told = await service.ask("POST", "", body)
    assert (status, told["error"]["reason"]) == (400, "BAD_REQUEST")
    assert service.content.roots() == ()


async def test_too_much_is_refused(service: Service) -> None:
    assert (await service.ask("POST", "", b"a" * 70_000))[0] == 413
    service.most[0] = 5
    cid = await service.add(b"a map")
    assert (await service.ask("POST", "", {"cid": cid}))[0] == 202
    status, told = await service.ask("POST", "", {"cid": await service.add(b"more")})
    assert (status, told["error"]["reason"]) == (409, "INSUFFICIENT_FUNDS")


async def test_without_a_token_nothing_is_told(service: Service) -> None:
    for who in ("nobody", "forger"):
        service.tokens["forger"] = service.tokens["ridge"][:-1] + "!"
        for method in ("GET", "POST"):
            status, told = await service.ask(method, "", who=who)
            assert (status, told["error"]["reason"]) == (401, "UNAUTHORIZED")
    assert (await service.ask("PUT"))[0] == 405
    assert (await service.ask("GET", "/../x"))[0] == 404


async def test_what_the_owner_of_the_node_drops_is_told_as_failed(service: Service) -> None:
    cid = await service.add(b"a map")
    told = (await service.ask("POST", "", {"cid": cid}))[1]
    await service.content.drop(cid)
    told = (await service.ask("GET", f"/{told['requestid']}"))[1]
    assert (told["status"], "owner of this node" in told["info"]["status_details"]) == ("failed", True)
    assert await service.pinning.revoke("ridge") == 1
    assert (await service.ask("GET", "?status=failed"))[1]["count"] == 0


async def test_pins_and_tokens_outlive_a_restart(tmp_path: Path) -> None:
    async with service_at(tmp_path) as service:
        cid = await service.add(b"a map")
        await service.ask("POST", "", {"cid": cid, "name": "map"})
        token = service.tokens["ridge"]
    tables = await asyncio.to_thread(Tables, tmp_path / "node.db", KEY)
    try:
        assert Tokens(tables).name_of(token, NOW) == "ridge"
        assert [request.name for request in PinBook(tables).all("ridge")] == ["map"]
    finally:
        tables.close()


def test_tokens_are_told_once_and_kept_as_hashes(tmp_path: Path) -> None:
    tables = Tables(tmp_path / "node.db", KEY)
    tokens = Tokens(tables)
    made = tokens.make("ridge", NOW)
    assert made.startswith("mc_")
    assert len(made) == 46
    with pytest.raises(Refused, match="a token ridge already"):
        tokens.make("ridge", NOW)
    assert [token.used for token in tokens.all()] == [None]
    assert tokens.name_of(made, NOW + 5) == "ridge"
    assert [token.used for token in tokens.all()] == [NOW + 5]
    assert not [row for row in tables.read("SELECT hash FROM edge_tokens") if made.encode() in row[0]]
    assert tokens.revoke("ridge")
    assert not tokens.revoke("ridge")
    assert tokens.name_of(made, NOW) == ""
    tables.close()


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Basic abc", ""),
        ("", ""),
        ("Bearer " + "a" * 300, ""),
    ],
)
def test_the_header(header: str, token: str) -> None:
    assert bearer(header) == token


async def test_where_others_reach_it_nothing_is_answered_without_a_token() -> None:
    async def answer(request: Request) -> Reply:
        return Reply(200)  # type: ignore[arg-type]

    async def may_pass(request: Request) -> bool:
        return bearer(request.header("authorization")) == "good"

    edge = Edge(EdgeSection, may_pass)
    edge.add(Part("gateway", "", below("/ipfs"), answer))
    edge.add(Part("pinning", "", below("/pins"), answer, asks=True))
    for path in ("/ipfs/x", "/", "/nothing"):
        with pytest.raises(HttpError) as told:
            await edge.handle(Request("GET", path))
        assert told.value.status == 401
    assert (await edge.handle(Request("GET", "/ipfs/x", "", {"authorization": "Bearer good"}))).status == 200
    assert (await edge.handle(Request("GET", "/pins"))).status == 200


async def test_a_pin_that_turns_out_too_large_is_lifted_and_told_as_failed(service: Service) -> None:
    service.most[0] = 10
    small = await service.add(b"a map")
    assert (await service.ask("POST", "", {"cid": small}))[0] == 202
    large = str(Cid.of(RAW, b"a larger map"))
    told = (await service.ask("POST", "", {"cid": large}))[1]
    await service.pinning.look_again()
    assert service.content.is_pinned(large)
    await service.add(b"a larger map")
    await service.pinning.look_again()
    assert [root.cid for root in service.content.roots() if root.pinned] == [small]
    assert service.content.job_state(large) is None
    told = (await service.ask("GET", f"/{told['requestid']}"))[1]
    assert (told["status"], "edge.key_mb" in told["info"]["status_details"]) == ("failed", True)
    status, told = await service.ask("POST", "", {"cid": large})
    assert (status, told["error"]["reason"]) == (409, "INSUFFICIENT_FUNDS")
