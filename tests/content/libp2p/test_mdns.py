from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshconsole.content.libp2p.mdns import MAX_ADDRESSES, make_text, read_text
from meshconsole.content.libp2p.multiaddr import tcp_address
from tests.content.libp2p.peers import key

HERE = tcp_address("192.0.2.1", 4001).with_peer(key("me").peer)


def test_addresses_are_read_again() -> None:
    there = tcp_address("::1", 2).with_peer(key("me").peer)
    assert list(read_text(make_text([HERE, there]))) == [HERE, there]


def test_an_address_without_a_peer_is_nobodys() -> None:
    assert not list(read_text(make_text([tcp_address("192.0.2.1", 4001)])))


def test_a_record_of_a_thousand_addresses_is_cut() -> None:
    assert len(list(read_text(make_text([HERE] * 1000)))) == MAX_ADDRESSES


@given(st.binary(max_size=200))
def test_any_bytes(text: bytes) -> None:
    list(read_text(text))
    list(read_text(b"\x20dnsaddr=" + text))
