from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.content.formats.protobuf import bytes_field
from meshconsole.content.libp2p.kademlia import (
    ADD_PROVIDER,
    ALPHA,
    FIND_NODE,
    MAX_KNOWN,
    MAX_PEERS,
    MAX_QUERIES,
    Found,
    K,
    Lookup,
    decode_answer,
    encode_query,
    point,
)
from meshconsole.content.libp2p.keys import PeerId
from meshconsole.content.libp2p.multiaddr import tcp_address
from meshconsole.core.errors import RemoteError
from tests.content.libp2p.peers import key

HERE = tcp_address("192.0.2.1", 4001)
ME = key("me").peer
TARGET = b"\x12\x20" + bytes(range(32))


def peer(number: int) -> PeerId:
    return PeerId(b"\x12\x20" + number.to_bytes(32, "big"))


def found(number: int) -> Found:
    return Found(peer(number), (HERE,))


def nearest(numbers: range) -> list[PeerId]:
    return sorted(map(peer, numbers), key=lambda one: point(one.multihash) ^ point(TARGET))


def test_what_is_asked_can_be_read() -> None:
    said = decode_answer(encode_query(ADD_PROVIDER, TARGET, Found(ME, (HERE,))))
    assert said.providers == (Found(ME, (HERE,)),)
    assert not decode_answer(encode_query(FIND_NODE, TARGET)).closer


def test_one_bad_peer_spoils_no_others() -> None:
    good = bytes_field(1, ME.multihash) + bytes_field(2, b"\xff\xff") + bytes_field(2, HERE.encode())
    answer = decode_answer(
        bytes_field(8, b"") + bytes_field(8, bytes_field(1, b"\xff")) + bytes_field(8, good)
    )
    assert answer.closer == (Found(ME, (HERE,)),)


def test_an_answer_of_a_thousand_peers_is_refused() -> None:
    with pytest.raises(RemoteError, match="names more"):
        decode_answer(bytes_field(8, bytes_field(1, ME.multihash)) * (2 * MAX_PEERS + 1))


@given(st.binary(max_size=100))
def test_any_bytes(data: bytes) -> None:
    with suppress(RemoteError):
        decode_answer(data)


def test_a_lookup_finds_the_nearest_of_a_network() -> None:
    """Each of 300 servers knows the K nearest to the target among 60 that it has met."""
    numbers, random = range(300), Random(7)
    knows = {one: random.sample(numbers, 60) for one in numbers}
    lookup = Lookup(TARGET, ME)
    lookup.hear(tuple(map(found, random.sample(numbers, 3))))
    while not lookup.is_over:
        due = lookup.due()
        assert len(due) <= ALPHA
        for one in due:
            met = knows[int.from_bytes(one.peer.multihash[2:], "big")]
            lookup.answered(one.peer, tuple(sorted(map(found, met), key=_distance)[:K]))
    assert [one.peer for one in lookup.closest] == nearest(numbers)[:K]
    assert lookup.queries < 120


def _distance(one: Found) -> int:
    return point(one.peer.multihash) ^ point(TARGET)


def test_who_does_not_answer_is_replaced() -> None:
    lookup = Lookup(TARGET, ME)
    lookup.hear(tuple(found(number) for number in range(K + 5)))
    dead = set(nearest(range(K + 5))[:5])
    while not lookup.is_over:
        for one in lookup.due():
            if one.peer in dead:
                lookup.failed(one.peer)
            else:
                lookup.answered(one.peer, ())
    assert {one.peer for one in lookup.closest} == set(nearest(range(K + 5))[5:])


def test_servers_that_invent_peers_end_nowhere() -> None:
    lookup = Lookup(TARGET, ME)
    lookup.hear((found(0), Found(ME, (HERE,))))
    made = 1
    while not lookup.is_over:
        for one in lookup.due():
            lookup.answered(one.peer, tuple(found(number) for number in range(made, made + MAX_PEERS)))
            made += MAX_PEERS
    assert lookup.queries <= MAX_QUERIES
    assert len(lookup._known) <= MAX_KNOWN + ALPHA
    assert ME not in lookup._known


def test_a_peer_without_an_address_is_asked_when_somebody_tells_one() -> None:
    lookup = Lookup(TARGET, ME)
    lookup.hear((Found(peer(1)),))
    assert lookup.is_over
    assert not lookup.due()
    lookup.hear((found(1),))
    assert [one.peer for one in lookup.due()] == [peer(1)]
    assert lookup.addresses_of(peer(1)) == (HERE,)
