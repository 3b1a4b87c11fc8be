from __future__ import annotations

import pytest

from meshconsole.content.exchange.bitswap import Message, Want
from meshconsole.content.exchange.serving import (
    MAX_ANSWERS,
    MAX_WANTS,
    ORDER_BYTES,
    ORDER_PRESENCES,
    Order,
    Serving,
)
from meshconsole.content.formats.cid import DAG_PB, RAW, Cid
from meshconsole.core.errors import RemoteError

A, B, C = (Cid.of(RAW, name) for name in (b"a", b"b", b"c"))
MIB = 1 << 20


def ask(serving: Serving, *wants: Want, here: dict[Cid, int] | None = None, **rest: bool) -> None:
    """One message, and the answers to its lookups."""
    serving.receive(Message(wants, full=rest.get("full", False)))
    look_up(serving, here or {})


def look_up(serving: Serving, here: dict[Cid, int]) -> None:
    cids = serving.lookups()
    serving.found(cids, {cid.multihash: here[cid] for cid in cids if cid in here})


def blocks(*cids: Cid) -> Order:
    return Order(cids, (), ())


def test_want_have_and_dont_have() -> None:
    serving = Serving()
    ask(serving, Want(A, False), Want(B, False), Want(C, False, send_dont_have=False), here={A: 5})
    assert serving.has_order
    assert serving.next_order() == Order((), (A,), (B,))
    assert serving.next_order() is None
    assert not serving.has_order


def test_want_block() -> None:
    serving = Serving()
    ask(serving, Want(A, True), Want(B, True), here={A: 5})
    assert serving.next_order() == Order((A,), (), (B,))
    assert (serving.sent_blocks, serving.sent_bytes) == (1, 5)
    assert serving.next_order() is None


def test_blocks_are_ordered_as_the_link_takes_them() -> None:
    serving = Serving()
    cids = [Cid.of(RAW, bytes([i])) for i in range(6)]
    sizes = [MIB, 10, MIB - 10, MIB, 2 * MIB, 1]
    ask(serving, *(Want(cid, True) for cid in cids), here=dict(zip(cids, sizes, strict=True)))
    assert ORDER_BYTES == MIB
    orders = []
    while (order := serving.next_order()) is not None:
        orders.append(order.blocks)
    assert orders == [(cids[0],), (cids[1], cids[2]), (cids[3],), (cids[4],), (cids[5],)]


def test_a_block_that_comes_later_is_sent_then() -> None:
    serving = Serving()
    ask(serving, Want(A, True), Want(B, False), Want(C, True))
    assert serving.next_order() == Order((), (), (A, B, C))
    assert set(serving.wanted([A.multihash, B.multihash, b"other"])) == {A, B}
    serving.found((A, B), {A.multihash: 1, B.multihash: 1})
    assert serving.next_order() == Order((A,), (B,), ())
    assert serving.wanted([A.multihash, B.multihash]) == ()
    assert serving.wanted([C.multihash]) == (C,)


def test_cancelled_wants_are_not_served() -> None:
    serving = Serving()
    ask(serving, Want(A, True), Want(B, True), here={A: 1, B: 1})
    serving.receive(Message(cancels=(A,)))
    assert serving.next_order() == blocks(B)
    ask(serving, Want(C, True))
    assert serving.next_order() == Order((), (), (C,))
    serving.receive(Message(cancels=(C,)))
    assert serving.wanted([C.multihash]) == ()


def test_a_cancel_during_the_lookup_holds() -> None:
    serving = Serving()
    serving.receive(Message((Want(A, True),)))
    cids = serving.lookups()
    serving.receive(Message(cancels=(A,)))
    serving.found(cids, {A.multihash: 1})
    assert serving.next_order() is None


def test_a_full_wantlist_replaces_the_earlier_one() -> None:
    serving = Serving()
    ask(serving, Want(A, True), Want(C, True), here={A: 1})
    serving.next_order()
    ask(serving, Want(B, True), here={B: 1}, full=True)
    assert serving.next_order() == blocks(B)
    assert serving.wanted([C.multihash]) == ()


def test_asking_for_the_block_after_asking_whether_it_is_here() -> None:
    serving = Serving()
    ask(serving, Want(A, False), here={A: 1})
    assert serving.next_order() == Order((), (A,), ())
    ask(serving, Want(A, True), here={A: 1})
    ask(serving, Want(A, True), here={A: 1})
    ask(serving, Want(A, False), here={A: 1})
    assert serving.next_order() == blocks(A)
    assert serving.next_order() is None


def test_dont_have_is_taken_back_when_the_block_comes_before_it_was_said() -> None:
    serving = Serving()
    ask(serving, Want(A, True))
    serving.found((A,), {A.multihash: 1})
    assert serving.next_order() == blocks(A)


def test_a_block_that_is_gone_when_its_turn_comes_stays_wanted() -> None:
    serving = Serving()
    ask(serving, Want(A, True), here={A: 1})
    assert serving.next_order() == blocks(A)
    serving.missing(A)
    assert serving.next_order() == Order((), (), (A,))
    serving.found(serving.wanted([A.multihash]), {A.multihash: 1})
    assert serving.next_order() == blocks(A)


def test_the_codec_of_the_cid_does_not_matter() -> None:
    serving = Serving()
    other = Cid(1, DAG_PB, A.hash_code, A.digest)
    ask(serving, Want(other, True), here={other: 1})
    assert serving.next_order() == blocks(other)


def test_wants_are_bounded_and_those_over_it_are_answered() -> None:
    serving = Serving()
    cids = [Cid.of(RAW, str(i).encode()) for i in range(MAX_WANTS + 10)]
    ask(serving, *(Want(cid, True, send_dont_have=False) for cid in cids[:MAX_WANTS]))
    ask(serving, *(Want(cid, True) for cid in cids[MAX_WANTS:]))
    assert serving.next_order() == Order((), (), tuple(cids[MAX_WANTS:]))
    assert serving.wanted([cid.multihash for cid in cids]) == tuple(cids[:MAX_WANTS])


def test_presences_are_sent_in_parts() -> None:
    serving = Serving()
    cids = [Cid.of(RAW, str(i).encode()) for i in range(ORDER_PRESENCES + 1)]
    ask(serving, *(Want(cid, False) for cid in cids), here=dict.fromkeys(cids, 1))
    assert serving.next_order() == Order((), tuple(cids[:-1]), ())
    assert serving.next_order() == Order((), (cids[-1],), ())


def test_a_peer_that_asks_without_reading_the_answers_is_cut_off() -> None:
    serving = Serving()

    def ask_on() -> None:
        for start in range(0, 4 * MAX_ANSWERS, 1000):
            cids = [Cid.of(RAW, str(i).encode()) for i in range(start, start + 1000)]
            ask(serving, *(Want(cid, False) for cid in cids), here=dict.fromkeys(cids, 1))

    with pytest.raises(RemoteError) as error:
        ask_on()
    assert error.value.code == "flood"
