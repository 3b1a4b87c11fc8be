"""Peers that break the protocol of syncing: noticed, and left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.core.errors import RemoteError
from meshconsole.core.kinds import TEXT_NOTE
from meshconsole.mesh.asked import Progress
from meshconsole.mesh.asks import FindMissing, Store, StoreLive
from meshconsole.mesh.messages import Ack, Batch, Fill, Need, Want
from meshconsole.mesh.rows import Row
from tests.mesh.sync_pair import (
    MemoryStore,
    Pair,
    Side,
    fill_store,
    id_of,
    make_event,
    make_pair,
    refuse_label,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


def started() -> Side:
    side = Side(MemoryStore("mine"))
    side.sync.taking.start("theirs", 100, 0)
    side.sync.taking.outbox.clear()
    return side


def receive_all(side: Side, messages: Iterable[Batch]) -> None:
    for message in messages:
        side.sync.receive(message, 0.0)


def offer(raw: bytes) -> bytes:
    return id_of(raw) + len(raw).to_bytes(4, "big")


def test_batches_out_of_order_break_the_protocol() -> None:
    side = started()
    with pytest.raises(RemoteError, match="out of order"):
        side.sync.receive(Batch(1, 2, 10, 10), 0.0)


def test_a_batch_that_goes_backwards_breaks_the_protocol() -> None:
    side = started()
    raw = make_event("x")
    side.sync.receive(Batch(1, 1, 10, 10, offered=offer(raw)), 0.0)
    with pytest.raises(RemoteError, match="out of order"):
        side.sync.receive(Batch(1, 2, 9, 10), 0.0)


def test_an_offer_of_odd_length_breaks_the_protocol() -> None:
    with pytest.raises(RemoteError, match="out of order"):
        started().sync.receive(Batch(1, 1, 10, 10, offered=b"x" * 35), 0.0)


def test_a_peer_that_ignores_the_window_is_cut_off() -> None:
    side = started()
    flood = (Batch(1, number, number, 1000, (b"x" * 60_000,)) for number in range(1, 1000))
    with pytest.raises(RemoteError, match="window"):
        receive_all(side, flood)


def test_what_came_before_its_stream_ended_is_stored_all_the_same() -> None:
    side = started()
    came, lacking = make_event("came"), make_event("lacking")
    side.sync.receive(Batch(1, 1, 10, 10, offered=offer(came) + offer(lacking)), 0.0)
    side.answer_one(0.0)
    side.sync.receive(Fill(1, 1, ((0, came),)), 0.0)
    side.sync.taking.start(side.sync.taking.log_id, 10, 0)  # over another link
    side.collect()
    assert list(side.asks) == [StoreLive((came,))]
    assert side.asked.claim(id_of(lacking), 0.0, Progress())
    assert not side.asked.claim(id_of(came), 0.0, Progress())


def test_fills_that_were_not_asked_for_break_the_protocol() -> None:
    side = started()
    raw = make_event("x")
    side.sync.receive(Batch(1, 1, 10, 10, offered=offer(raw)), 0.0)
    with pytest.raises(RemoteError, match="not asked"):
        side.sync.receive(Fill(1, 1, ((0, raw),)), 0.0)


def test_a_fill_larger_than_its_offer_breaks_the_protocol() -> None:
    side = started()
    raw = make_event("x")
    side.sync.receive(Batch(1, 1, 10, 10, offered=offer(raw)), 0.0)
    side.collect()
    assert isinstance(side.asks[0], FindMissing)
    side.answer_one(0.0)
    assert side.sync.taking.outbox == [Need(1, 1, (0,))]
    with pytest.raises(RemoteError, match="larger"):
        side.sync.receive(Fill(1, 1, ((0, raw + b" "),)), 0.0)


def test_messages_of_an_ended_stream_are_ignored() -> None:
    side = started()
    side.sync.taking.start("theirs", 100, 0)
    side.sync.receive(Batch(1, 7, 10, 10, (make_event("late"),)), 0.0)
    side.sync.receive(Ack(9, 9), 0.0)
    side.collect()
    assert not any(isinstance(ask, Store) for ask in side.asks)


def test_wanting_another_log_and_inventing_acks_or_needs_break_the_protocol() -> None:
    side = Side(MemoryStore("mine"))
    with pytest.raises(RemoteError, match="not this node's"):
        side.sync.receive(Want(1, "other", 0), 0.0)
    side.sync.receive(Want(1, "mine", 0), 0.0)
    with pytest.raises(RemoteError, match="never sent"):
        side.sync.receive(Ack(1, 50), 0.0)
    with pytest.raises(RemoteError, match="not offered"):
        side.sync.receive(Need(1, 1, (0,)), 0.0)


def test_one_event_is_not_sent_a_thousand_times_for_one_need() -> None:
    pair = make_pair()
    pair.a.store.add(make_event("large", size=50_000))
    pair.connect()
    while not pair.a.sync.serving.outbox:
        assert pair.step()
        pair.a.answer_one(pair.now)
    with pytest.raises(RemoteError, match="twice"):
        pair.a.sync.receive(Need(1, 1, (0,) * 1000), pair.now)


def test_whoever_offers_what_it_does_not_have_is_left() -> None:
    side = started()
    side.sync.taking.head = 10_000
    with pytest.raises(RemoteError, match="does not have"):
        lie(side, 100)


def lie(side: Side, batches: int) -> None:
    """Offers that come to nothing, one in each batch."""
    for number in range(1, batches):
        side.sync.receive(Batch(1, number, number, 10_000, offered=offer(make_event(f"none{number}"))), 0.0)
        while side.answer_one(0.0):
            continue
        side.sync.receive(Fill(1, number, ((0, b""),)), 0.0)
        while side.answer_one(0.0):
            continue
        side.sync.taking.outbox.clear()


@pytest.mark.parametrize("live", [False, True])
def test_whoever_sends_forged_events_is_left_and_one_damaged_event_is_forgiven(live: bool) -> None:
    pair = make_pair()
    pair.b.store.judge = refuse_label("forged")
    fill_store(pair.a, "good", 5)
    pair.a.store.add(make_event("forged-once"), local=True)
    pair.connect()
    pair.settle()
    assert pair.b.sync.taking.refused == 1
    with pytest.raises(RemoteError, match="not what they claim"):
        forge(pair, live=live)


def forge(pair: Pair, *, live: bool) -> None:
    for number in range(100):
        raw = make_event(f"forged{number}")
        if live:
            pair.a.sync.send_live([Row(0, id_of(raw), TEXT_NOTE, raw)])
        else:
            pair.a.write(raw, pair.now)
        pair.settle()
