"""Delegated routing: what is told of whom."""

from __future__ import annotations

from typing import cast

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meshconsole.content.formats.cid import RAW, Cid
from meshconsole.core.sections import EdgeSection
from meshconsole.edge.edge import Edge, Part, below
from meshconsole.edge.messages import HttpError, Reply, Request
from meshconsole.edge.routing import BITSWAP, GATEWAY, Peer, Routing, multiaddr, peer_id, peer_record

HERE, ELSEWHERE = Cid.of(RAW, b"here"), Cid.of(RAW, b"elsewhere")
OTHER = "12D3KooWlibp2p"
ME = peer_id(Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw())


async def _provides(cid: Cid) -> bool:
    return cid.multihash == HERE.multihash


def records_of_this_node() -> list[Peer]:
    gateway = [multiaddr("127.0.0.1", 7480), multiaddr("::1", 7480)]
    libp2p = f"/ip4/192.0.2.7/tcp/7448/p2p/{OTHER}"
    return [peer_record(ME, gateway, GATEWAY), peer_record(OTHER, [libp2p], BITSWAP)]


async def ask(target: str, method: str = "GET", **headers: str) -> Reply:
    path, _, query = target.partition("?")
    routing = Routing(_provides, records_of_this_node)
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
        },
        {
            "Schema": "peer",
            "ID": OTHER,
            "Addrs": ["/ip4/192.0.2.7/tcp/7448"],
            "Protocols": ["transport-bitswap"],
        },
    ]
    assert ("Content-Type", "application/json") in reply.headers


async def test_nobody_provides_what_is_not() -> None:
    reply = await ask(f"providers/{ELSEWHERE}")
    assert (reply.status, records(reply)) == (404, [])


async def test_a_block_in_its_own_cid_gives_nobody_away() -> None:
    async def everything(cid: Cid) -> bool:
        return True

    routing = Routing(everything, records_of_this_node)
    reply = await routing.handle(Request("GET", "/routing/v1/providers/bafkqaaa"))
    assert (reply.status, records(reply)) == (404, [])


async def test_in_lines_for_those_who_ask_for_lines() -> None:
    reply = await ask(f"providers/{HERE}", accept="application/x-ndjson, application/json;q=0.5")
    assert ("Content-Type", "application/x-ndjson") in reply.headers
    assert isinstance(reply.body, bytes)
    assert [msgspec.json.decode(line)["ID"] for line in reply.body.splitlines()] == [ME, OTHER]


async def test_a_peer_by_its_name() -> None:
    assert [peer["ID"] for peer in records(await ask(f"peers/{ME}"))] == [ME]
    assert (await ask("peers/12D3KooWother")).status == 404


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("filter-protocols=transport-graphsync", 0),
        ("filter-protocols=transport-bitswap", 1),
        ("filter-protocols=unknown,transport-ipfs-gateway-http", 2),
        ("filter-addrs=ip4", 2),
        ("filter-addrs=!ip4", 1),
        ("filter-addrs=http,!ip6", 1),
        ("filter-addrs=webrtc", 0),
    ],
)
async def test_filters(query: str, count: int) -> None:
    found = records(await ask(f"providers/{HERE}?{query}"))
    addresses = [address for record in found for address in cast("list[str]", record["Addrs"])]
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
    routing = Routing(_provides, records_of_this_node)
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
