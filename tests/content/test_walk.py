from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.content.formats.block import Block
from meshconsole.content.formats.cid import DAG_PB, IDENTITY, RAW, Cid, Prefix
from meshconsole.content.formats.dagpb import Link, Node, encode_node
from meshconsole.content.layout import Profile, build
from meshconsole.content.walk import Walk, links_of
from meshconsole.core.errors import RemoteError
from tests.content.deterministic import deterministic_bytes

SMALL = Profile("small", 10, 3, raw_leaves=True, cid_version=1)


def drive(walk: Walk, here: dict[bytes, bytes], elsewhere: dict[bytes, bytes], seed: int = 0) -> list[Cid]:
    """Runs the walk to its end; returns what it wanted, in order."""
    order = random.Random(seed)
    wanted: list[Cid] = []
    in_flight: list[Cid] = []
    while not walk.is_done:
        while cids := walk.to_check(4):
            walk.checked(
                cids, {cid.multihash: len(here[cid.multihash]) for cid in cids if cid.multihash in here}
            )
            while (inner := walk.to_open()) is not None:
                data = here[inner.multihash]
                walk.arrived(inner.multihash, len(data), links_of(inner, data))
        new = walk.to_want(3 - walk.wanted)
        wanted += new
        in_flight += new
        if in_flight:
            cid = in_flight.pop(order.randrange(len(in_flight)))
            data = elsewhere[cid.multihash]
            here[cid.multihash] = data
            walk.arrived(cid.multihash, len(data), links_of(cid, data))
    return wanted


def tree(size: int, seed: str = "walk") -> tuple[Cid, dict[bytes, bytes]]:
    blocks = list(build([deterministic_bytes(size, seed)], SMALL))
    return blocks[-1].cid, {block.cid.multihash: block.data for block in blocks}


@pytest.mark.parametrize("size", [0, 5, 10, 11, 30, 31, 95, 300])
def test_gets_everything_once(size: int) -> None:
    root, blocks = tree(size)
    walk = Walk(root)
    wanted = drive(walk, {}, blocks)
    assert {cid.multihash for cid in wanted} == set(blocks)
    assert len(wanted) == len(blocks)
    assert walk.have_bytes == sum(map(len, blocks.values()))
    assert walk.total_bytes == walk.have_bytes


@given(st.integers(0, 400), st.randoms(use_true_random=False))
def test_asks_only_for_what_is_missing(size: int, chance: random.Random) -> None:
    root, blocks = tree(size)
    here = {multihash: data for multihash, data in blocks.items() if chance.random() < 0.5}
    missing = blocks.keys() - here.keys()
    walk = Walk(root)
    wanted = drive(walk, here, blocks, seed=chance.randrange(1000))
    assert {cid.multihash for cid in wanted} == missing
    assert walk.have_bytes == walk.total_bytes == sum(map(len, blocks.values()))


def test_nothing_is_asked_for_when_all_is_here() -> None:
    root, blocks = tree(300)
    walk = Walk(root)
    assert drive(walk, dict(blocks), {}) == []
    assert walk.is_done


def test_leaves_of_one_inner_block_are_asked_for_in_the_order_of_reading() -> None:
    blocks = list(build([deterministic_bytes(30, "order")], SMALL))
    leaves = [block.cid for block in blocks if block.cid.codec == RAW]
    wanted = drive(Walk(blocks[-1].cid), {}, {block.cid.multihash: block.data for block in blocks})
    assert wanted == [blocks[-1].cid, *leaves]


def test_equal_blocks_are_asked_for_and_counted_once() -> None:
    blocks = {block.cid.multihash: block.data for block in build([bytes(1000)], SMALL)}
    root = list(build([bytes(1000)], SMALL))[-1].cid
    walk = Walk(root)
    assert len(drive(walk, {}, blocks)) == len(blocks)
    assert walk.have_bytes == sum(map(len, blocks.values()))
    assert walk.total_bytes is not None
    assert walk.total_bytes >= walk.have_bytes


def test_an_inner_block_that_vanished_is_asked_for() -> None:
    root, blocks = tree(31)
    walk = Walk(root)
    cids = walk.to_check(10)
    walk.checked(cids, {root.multihash: 1})
    assert walk.to_open() == root
    walk.absent(root.multihash)
    assert walk.to_want(10) == [root]
    assert len(drive_rest(walk, root, blocks)) == len(blocks) - 1


def drive_rest(walk: Walk, first: Cid, blocks: dict[bytes, bytes]) -> list[Cid]:
    data = blocks[first.multihash]
    walk.arrived(first.multihash, len(data), links_of(first, data))
    return drive(walk, {}, blocks)


def test_blocks_that_nobody_waits_for_change_nothing() -> None:
    root, _ = tree(31)
    walk = Walk(root)
    walk.arrived(Cid.of(RAW, b"other").multihash, 5, ())
    walk.absent(Cid.of(RAW, b"other").multihash)
    assert walk.have_bytes == 0
    assert not walk.is_done


def test_inline_blocks_are_never_asked_for() -> None:
    inline = Prefix(1, RAW, IDENTITY).name(b"in the CID")
    root = Block.of(DAG_PB, encode_node(Node((Link(inline, "", 0),))))
    walk = Walk(root.cid)
    assert drive(walk, {}, {root.cid.multihash: root.data}) == [root.cid]
    assert walk.have_bytes == len(root.data)
    assert drive(Walk(inline), {}, {}) == []


@pytest.mark.parametrize(
    ("cid", "code"),
    [
        (Cid.of(0x0129, b"{}"), "unsupported-codec"),
        (Cid(1, RAW, 0xB220, bytes(32)), "unsupported-hash"),
    ],
)
def test_what_cannot_be_followed_is_refused(cid: Cid, code: str) -> None:
    with pytest.raises(RemoteError) as error:
        Walk(cid).to_check(1)
    assert error.value.code == code


def test_a_tree_built_to_exhaust_memory_is_refused() -> None:
    links = tuple(Link(Cid.of(DAG_PB, str(i).encode())) for i in range(40_000))
    top = Cid.of(DAG_PB, b"top")
    walk = Walk(top)
    walk.checked(walk.to_check(1), {})
    walk.to_want(1)
    walk.arrived(top.multihash, 1, links)
    (first,) = walk.to_check(1)
    walk.checked([first], {})
    walk.to_want(1)
    with pytest.raises(RemoteError):
        walk.arrived(first.multihash, 1, links)


def test_malformed_blocks_are_refused() -> None:
    with pytest.raises(RemoteError):
        links_of(Cid.of(DAG_PB, b"\xff"), b"\xff")
    assert links_of(Cid.of(RAW, b"\xff"), b"\xff") == ()


def test_a_chain_of_ten_thousand_blocks_is_followed_to_its_end() -> None:
    blocks: dict[bytes, tuple[Cid, tuple[Link, ...]]] = {}
    below: tuple[Link, ...] = ()
    for i in range(10_000):
        cid = Cid.of(DAG_PB, str(i).encode())
        blocks[cid.multihash] = (cid, below)
        below = (Link(cid),)
    walk = Walk(below[0].cid)
    while not walk.is_done:
        walk.checked(walk.to_check(10), {})
        for cid in walk.to_want(10):
            walk.arrived(cid.multihash, 1, blocks[cid.multihash][1])
    assert walk.have_bytes == 10_000
