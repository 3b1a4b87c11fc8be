"""The cases named here are those of the IPLD codec fixtures for dag-pb."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.content.formats import dagpb
from meshconsole.content.formats.cid import RAW, Cid
from meshconsole.content.formats.dagpb import Link, Node, decode_node, encode_node
from meshconsole.core.errors import LocalError, RemoteError

ACID = Cid.decode(bytes.fromhex("015500050001020304"))
DATA = bytes.fromhex("0001020304")


@pytest.mark.parametrize(
    ("encoded", "node"),
    [
        ("", Node()),
        ("0a00", Node(data=b"")),
        ("0a050001020304", Node(data=DATA)),
        ("120b0a09015500050001020304", Node((Link(ACID),))),
        ("120b0a090155000500010203040a050001020304", Node((Link(ACID),), DATA)),
        ("120d0a090155000500010203041200", Node((Link(ACID, ""),))),
        ("12160a090155000500010203041209736f6d65206e616d65", Node((Link(ACID, "some name"),))),
        ("120d0a090155000500010203041800", Node((Link(ACID, None, 0),))),
        ("120e0a0901550005000102030418f207", Node((Link(ACID, None, 1010),))),
        ("12140a0901550005000102030418ffffffffffffff0f", Node((Link(ACID, None, (1 << 53) - 1),))),
    ],
)
def test_fixtures(encoded: str, node: Node) -> None:
    assert decode_node(bytes.fromhex(encoded)) == node
    assert encode_node(node).hex() == encoded


V0_LINK = "0a221220cf92fdefcdc34cac009c8b05eb662be0618db9de55ecd42785e9ec6712f8df65"


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param("1200", id="link without a hash"),
        pytest.param("12000a050001020304", id="data, and a link without a hash"),
        pytest.param("12020a00", id="link with an empty hash"),
        pytest.param("12021200", id="link with just an empty name"),
        pytest.param("120b1209736f6d65206e616d65", id="link with just a name"),
        pytest.param("12021800", id="link with just a zero size"),
        pytest.param("120318f207", id="link with just a size"),
        pytest.param("1224" + V0_LINK + "0a0408021806" + "1224" + V0_LINK, id="data between links"),
        pytest.param("0a000a00", id="data twice"),
        pytest.param("1a00", id="unknown field"),
        pytest.param("0800", id="data as a number"),
        pytest.param("120d12000a09015500050001020304", id="name before hash"),
        pytest.param("12160a090155000500010203040a09015500050001020304", id="hash twice"),
        pytest.param("120f0a0901550005000102030412001200", id="name twice"),
        pytest.param("120f0a090155000500010203041800" + "1200", id="name after size"),
        pytest.param("120e0a0901550005000102030412" + "01ff", id="name that is not UTF-8"),
        pytest.param("120b0a090155000500010203", id="ends inside a link"),
        pytest.param("120c0a0901550005000102030400", id="field number 0"),
        pytest.param("0d00000000", id="fixed-width field"),
        pytest.param("0b", id="group"),
        pytest.param("8a0000", id="a key longer than needed"),
    ],
)
def test_refuses(encoded: str) -> None:
    with pytest.raises(RemoteError):
        decode_node(bytes.fromhex(encoded))


links = st.builds(
    Link,
    st.binary(max_size=20).map(lambda data: Cid.of(RAW, data)),
    st.none() | st.text(max_size=10),
    st.none() | st.integers(0, (1 << 64) - 1),
)
nodes = st.builds(
    Node,
    st.lists(links, max_size=6).map(
        lambda many: tuple(sorted(many, key=lambda one: (one.name or "").encode()))
    ),
    st.none() | st.binary(max_size=40),
)


@given(nodes)
def test_round_trip(node: Node) -> None:
    assert decode_node(encode_node(node)) == node


@given(nodes, st.data())
def test_a_changed_byte_gives_another_node_or_none(node: Node, data: st.DataObject) -> None:
    encoded = bytearray(encode_node(node))
    if not encoded:
        return
    index = data.draw(st.integers(0, len(encoded) - 1))
    encoded[index] ^= data.draw(st.integers(1, 255))
    try:
        other = decode_node(bytes(encoded))
    except RemoteError:
        return
    assert other != node


@given(st.binary(max_size=100))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    try:
        node = decode_node(data)
    except RemoteError:
        return
    names = [(link.name or "").encode() for link in node.links]
    if names == sorted(names):
        assert encode_node(node) == data


def test_unsorted_links_are_our_mistake() -> None:
    with pytest.raises(LocalError):
        encode_node(Node((Link(ACID, "b"), Link(ACID, "a"))))


def test_links_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dagpb, "MAX_LINKS", 10)
    one = bytes.fromhex("120b0a09015500050001020304")
    assert len(decode_node(one * 10).links) == 10
    with pytest.raises(RemoteError):
        decode_node(one * 11)
