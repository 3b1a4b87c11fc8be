"""Delegated routing: what is told of whom."""

from __future__ import annotations

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meshconsole.content.cid import RAW, Cid
from meshconsole.core.config import EdgeSection
from meshconsole.edge.edge import Edge, Part, below
from meshconsole.edge.messages import HttpError, Reply, Request
from meshconsole.edge.routing import Routing, peer_id

HERE, ELSEWHERE = Cid.of(RAW, b"here"), Cid.of(RAW, b"elsewhere")
ME = peer_id(Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw())


async def _provides(cid: Cid) -> bool:
    return cid.multihash == HERE.multihash


async def ask(target: str, method: str = "GET", **headers: str) -> Reply:
    path, _, query = target.partition("?")
    routing = Routing(ME, _provides, lambda: [("127.0.0.1", 7480), ("::1", 7480)])
    return await routing.handle(Request(method, f"/routing/v1/{path}", query, headers))


def records(reply: Reply) -> list[dict[str, object]]:
    assert isinstance(reply.body, bytes)
    found: dict[str, list[dict[str, object]]] = msgspec.json.decode(reply.body)
    return next(iter(found.values()))


def test_the_name_has_the_form_of_libp2p() -> None:
    assert ME.startswith("12D3KooW")
    assert len(ME) == 52


async def test_this_gateway_provides_what_is_here() -> None:
    reply = await ask(f"providers/{HERE}")
    assert reply.status == 200
    assert records(reply) == [
        {
            "Schema": "peer",
            "ID": ME,
            "Addrs": ["/ip4/127.0.0.1/tcp/7480/http", "/ip6/::1/tcp/7480/http"],
            "Protocols": ["transport-ipfs-gateway-http"],
        }
    ]
    assert ("Content-Type", "application/json") in reply.headers


async def test_nobody_provides_what_is_not() -> None:
    reply = await ask(f"providers/{ELSEWHERE}")
    assert (reply.status, records(reply)) == (404, [])


async def test_in_lines_for_those_who_ask_for_lines() -> None:
    reply = await ask(f"providers/{HERE}", accept="application/x-ndjson, application/json;q=0.5")
    assert ("Content-Type", "application/x-ndjson") in reply.headers
    assert isinstance(reply.body, bytes)
    assert [msgspec.json.decode(line)["ID"] for line in reply.body.splitlines()] == [ME]


async def test_a_peer_by_its_name() -> None:
    assert [peer["ID"] for peer in records(await ask(f"peers/{ME}"))] == [ME]
    assert (await ask("peers/12D3KooWother")).status == 404


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("filter-protocols=transport-bitswap", 0),
        ("filter-protocols=unknown,transport-ipfs-gateway-http", 2),
        ("filter-addrs=ip4", 1),
        ("filter-addrs=!ip4", 1),
        ("filter-addrs=http,!ip6", 1),
        ("filter-addrs=webrtc", 0),
    ],
)
async def test_filters(query: str, count: int) -> None:
    found = records(await ask(f"providers/{HERE}?{query}"))
    addresses = found[0]["Addrs"] if found else []
    assert isinstance(addresses, list)
    assert len(addresses) == count


@pytest.mark.parametrize(
    ("target", "method", "status"),
    [
        ("providers/nonsense", "GET", 422),
        ("providers", "GET", 400),
        ("other/x", "GET", 400),
        (f"providers/{HERE}", "PUT", 501),
        ("ipns/k51", "GET", 501),
    ],
)
async def test_what_is_not_served(target: str, method: str, status: int) -> None:
    with pytest.raises(HttpError) as told:
        await ask(target, method)
    assert told.value.status == status


async def test_each_part_has_a_switch_and_browsers_ask_first() -> None:
    section = [EdgeSection()]
    edge = Edge(lambda: section[0])
    routing = Routing(ME, _provides, lambda: [("127.0.0.1", 1)])
    edge.add(Part("routing", "routing", below("/routing/v1"), routing.handle))
    request = Request("GET", f"/routing/v1/providers/{HERE}")
    assert (await edge.handle(request)).status == 200
    section[0] = EdgeSection(routing=False)
    with pytest.raises(HttpError, match=r"edge\.routing"):
        await edge.handle(request)
    for path in ("/routing", "/routing/v10", "/x", ""):
        with pytest.raises(HttpError):
            await edge.handle(Request("GET", path))
    assert (await edge.handle(Request("OPTIONS", "/anything"))).status == 204
    assert (await edge.handle(Request("HEAD", "/"))).status == 200
