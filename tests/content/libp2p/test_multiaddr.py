from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.content.libp2p.multiaddr import Multiaddr, decodable, tcp_address
from meshconsole.core.errors import RemoteError
from tests.content.libp2p.peers import key

PEER = str(key("peer").peer)


@pytest.mark.parametrize(
    "text",
    [
        "/ip4/192.0.2.1/tcp/4001",
        f"/ip4/192.0.2.1/tcp/4001/p2p/{PEER}",
        "/ip6/2001:db8::1/tcp/1",
        "/dns4/node.example/tcp/443/wss",
        "/ip4/192.0.2.1/udp/4001/quic-v1",
        "/ip4/192.0.2.1/tcp/7447/ws",
        f"/p2p/{PEER}",
        f"/ip4/192.0.2.1/tcp/4001/p2p/{PEER}/p2p-circuit",
    ],
)
def test_text_and_bytes_are_the_same_address(text: str) -> None:
    address = Multiaddr.parse(text)
    assert str(address) == text
    assert Multiaddr.decode(address.encode()) == address


def test_the_bytes_are_those_of_the_specification() -> None:
    assert Multiaddr.parse("/ip4/127.0.0.1/udp/1234").encode().hex() == "047f000001910204d2"


def test_what_is_dialled() -> None:
    assert tcp_address("192.0.2.1", 4001).host_port == ("192.0.2.1", 4001)
    assert Multiaddr.parse(f"/dns4/a.example/tcp/1/p2p/{PEER}").host_port == ("a.example", 1)
    assert tcp_address("::1", 7, ("ws", "")).host_port is None
    assert tcp_address("::1", 7, ("ws", "")).websocket == ("::1", 7)
    assert Multiaddr.parse("/ip4/192.0.2.1/udp/4001/quic-v1").host_port is None


def test_the_old_name_of_p2p() -> None:
    assert Multiaddr.parse(f"/ipfs/{PEER}").peer == key("peer").peer


@pytest.mark.parametrize(
    "text",
    [
        "",
        "192.0.2.1:4001",
        "/",
        "/ip4",
        "/ip4/192.0.2.256/tcp/1",
        "/ip4/::1/tcp/1",
        "/ip4/192.0.2.1/tcp/65536",
        "/ip4/192.0.2.1/tcp/-1",
        "/ip4/192.0.2.1/tcp/",
        "/dns/" + "a" * 300 + "/tcp/1",
        "/p2p/nobody",
        "/onion/abc",
    ],
)
def test_bad_texts_are_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(RemoteError) as refused:
        Multiaddr.parse(text)
    assert refused.value.sentence


def test_addresses_of_other_kinds_are_passed_over() -> None:
    good = tcp_address("192.0.2.1", 1)
    assert list(decodable([b"\xff\xff\x03", good.encode(), b""], 3)) == [good]
    assert not list(decodable([b"", good.encode()], 1))


@given(st.binary(max_size=80))
def test_any_bytes(data: bytes) -> None:
    try:
        address = Multiaddr.decode(data)
    except RemoteError:
        return
    assert Multiaddr.decode(address.encode()) == address
    assert str(address).isprintable()
    _ = address.host_port, address.websocket, address.peer


@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    with suppress(RemoteError):
        Multiaddr.parse(text)
