"""The flash path: repeated until all have acknowledged, packed to one datagram, receipts that are signed."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.event import Event
from meshconsole.core.kinds import TEAM_NOTE
from meshconsole.crypto.provider import default_provider
from meshconsole.mesh.datagrams.messages import FlashNote, decode_datagram
from meshconsole.mesh.datagrams.packing import pack_note, unpack_note
from meshconsole.mesh.datagrams.sealing import MAX_DATAGRAM, Sealer
from meshconsole.mesh.flash import GIVEN_UP_S, MAX_NOTES, OFTEN_S, REPEAT_S, SELDOM_S, Flash
from meshconsole.mesh.messages import Receipt, encode
from meshconsole.mesh.receipts import Sent, SentNotes, is_genuine, make_receipt
from meshconsole.team.state import Team
from tests.mesh.devices import identity
from tests.mesh.nodes import SmallRoster, TestNode

if TYPE_CHECKING:
    from pathlib import Path

A, B, HUB = (identity(name).npub for name in ("alice", "bob", "hub"))
ID = b"i" * 32
NOW = 1_700_000_000


def times_sent(flash: Flash, until: float) -> list[float]:
    sent = []
    while (timer := flash.next_timer()) is not None and timer <= until:
        sent += [timer for _ in flash.due(timer)]
    return sent


def test_a_note_is_repeated_often_then_seldom_then_left_to_syncing() -> None:
    flash = Flash()
    flash.begin(ID, b"note", {A}, 0.0)
    sent = times_sent(flash, 2 * GIVEN_UP_S)
    assert sent[:3] == pytest.approx([0.0, REPEAT_S, 2 * REPEAT_S])
    assert sum(at < OFTEN_S for at in sent) == pytest.approx(OFTEN_S / REPEAT_S, abs=1)
    assert sum(at >= OFTEN_S for at in sent) == pytest.approx((GIVEN_UP_S - OFTEN_S) / SELDOM_S, abs=1)
    assert flash.next_timer() is None


def test_who_has_acknowledged_is_not_sent_more_and_the_last_one_ends_it() -> None:
    flash = Flash()
    flash.begin(ID, b"note", {A, B}, 0.0)
    flash.acknowledged(ID, A)
    assert [flying.missing for flying in flash.due(0.0)] == [{B}]
    flash.acknowledged(ID, B)
    assert flash.next_timer() is None
    flash.acknowledged(ID, B)


def test_a_change_of_the_network_begins_anew() -> None:
    flash = Flash()
    flash.begin(ID, b"note", {A}, 0.0)
    times_sent(flash, 100.0)
    flash.hurry(101.0)
    assert len(times_sent(flash, 101.0 + 10 * REPEAT_S)) >= 10


def test_notes_under_way_are_bounded_and_nobody_to_send_to_is_nothing_to_do() -> None:
    flash = Flash()
    for number in range(2 * MAX_NOTES):
        flash.begin(number.to_bytes(32, "big"), b"note", {A}, float(number))
    flash.begin(ID, b"note", set(), 0.0)
    assert len(flash.due(2.0 * MAX_NOTES)) == MAX_NOTES


def test_at_forty_percent_loss_each_way_all_notes_arrive_and_soon() -> None:
    """As in the lab, in a thousandth of the time: 200 notes to three, 64 % of the acknowledgements lost."""
    chance = Random(5)
    took: list[float] = []
    for number in range(200):
        flash, event_id, now = Flash(), number.to_bytes(32, "big"), 0.0
        flash.begin(event_id, b"note", {A, B, HUB}, now)
        arrived: dict[str, float] = {}
        while (timer := flash.next_timer()) is not None:
            now = timer
            for flying in flash.due(now):
                for npub in tuple(flying.missing):
                    if chance.random() < 0.6:
                        arrived.setdefault(npub, now)
                        if chance.random() < 0.6:
                            flash.acknowledged(event_id, npub)
        took += arrived.values()
        assert len(arrived) == 3
    took.sort()
    assert took[int(0.95 * len(took))] <= 1.5


def flash_event(text: str) -> tuple[Team, Event]:
    team, _ = Team.found(identity("alice"), "Falcon", "alice", NOW, default_provider())
    return team, team.seal_note(text, NOW, "flash")


def test_a_packed_note_is_the_very_same_event_again() -> None:
    team, event = flash_event("bridge is out, use the ford")
    payload = pack_note(event)
    assert payload is not None
    note = decode_datagram(payload)
    assert isinstance(note, FlashNote)
    assert unpack_note(note) == event
    assert team.open_note(unpack_note(note)).text == "bridge is out, use the ford"
    assert len(Sealer((b"k" * 32,)).seal(payload)) <= MAX_DATAGRAM


def test_the_longest_note_that_looks_like_a_short_one_fits_a_datagram() -> None:
    _, short = flash_event("x")
    _, longest = flash_event("x" * 480)
    assert len(short.content) == len(longest.content)
    assert pack_note(longest) is not None
    _, long = flash_event("x" * 600)
    assert pack_note(long) is None, "it goes over links only"


def test_what_is_no_flash_note_is_not_packed() -> None:
    team, event = flash_event("x")
    assert pack_note(team.seal_note("x", NOW)) is None
    assert pack_note(Event(event.id, event.pubkey, NOW, 1, event.tags, event.content, event.sig)) is None
    assert pack_note(Event(event.id, "zz", NOW, TEAM_NOTE, event.tags, event.content, event.sig)) is None
    assert pack_note(Event(event.id, event.pubkey, NOW, TEAM_NOTE, event.tags, "?", event.sig)) is None


@given(st.data())
def test_a_changed_packed_note_is_nothing_or_another_event(data: st.DataObject) -> None:
    payload = bytearray(PACKED)
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    note = decode_datagram(bytes(payload))
    if isinstance(note, FlashNote):
        assert unpack_note(note) != EVENT


_, EVENT = flash_event("x")
PACKED = pack_note(EVENT) or b""


def test_a_receipt_is_genuine_for_that_note_that_device_and_that_word_only() -> None:
    receipt = make_receipt(identity("bob"), ID, "delivered")
    assert is_genuine(receipt)
    assert decode_datagram(encode(receipt)) == receipt
    assert not is_genuine(Receipt(b"j" * 32, receipt.npub, "delivered", receipt.sig))
    assert not is_genuine(Receipt(ID, bytes.fromhex(A), "delivered", receipt.sig))
    assert not is_genuine(Receipt(ID, receipt.npub, "read", receipt.sig))


def test_what_became_of_a_note_in_words() -> None:
    notes = SentNotes()
    notes.add(Sent(ID, 1.0, "flash", frozenset({A, B})))

    def state() -> str:
        (status,) = notes.status()
        return status.state

    def waits() -> bool:
        return notes.are_waiting

    assert waits()
    assert state() == "queued"
    notes.look(HUB, {ID}.__contains__)
    assert state() == "at hub"
    notes.look(A, {ID}.__contains__)
    assert state() == "carried 1/2"
    assert notes.acknowledged(make_receipt(identity("bob"), ID, "delivered"))
    assert state() == "delivered"
    assert not waits()
    assert notes.acknowledged(make_receipt(identity("bob"), ID, "read"))
    assert state() == "read 1/2"
    assert not notes.acknowledged(make_receipt(identity("hub"), ID, "read")), "it was not sent to that one"
    assert not notes.acknowledged(make_receipt(identity("bob"), b"j" * 32, "read"))
    (status,) = notes.status()
    assert (status.lacks, status.read) == ((), (B,))


async def test_a_flash_note_arrives_without_a_link_and_is_acknowledged(tmp_path: Path) -> None:
    roster = SmallRoster.of("alice", "bob")
    alice, bob = (TestNode(name, roster, tmp_path, beacons=True) for name in ("alice", "bob"))
    async with alice, bob:
        for node in (alice, bob):
            node.mesh._emcon.level = "quiet"  # so that nobody dials: datagrams only
        _, event = flash_event("no link needed")
        assert (await alice.relay.publish(event)).accepted
        alice.mesh.flashing.sent(event)
        await bob.until_has(event)
        await alice.until(lambda: next(iter(alice.mesh.flashing.status())).state == "delivered")
        assert not alice.is_linked(bob)
        assert len([s for s in bob.stored if s.event.id == event.id]) == 1
        bob.mesh.flashing.acknowledge(bytes.fromhex(event.id), "read")
        await alice.until(lambda: next(iter(alice.mesh.flashing.status())).state == "read 1/1")


async def test_receipts_come_over_links_from_devices_that_are_not_near(tmp_path: Path) -> None:
    roster = SmallRoster.of("alice", "bob", "hub")
    async with (
        TestNode("alice", roster, tmp_path) as alice,
        TestNode("bob", roster, tmp_path) as bob,
        TestNode("hub", roster, tmp_path) as hub,
    ):
        hub.membership.team = SmallRoster.of("alice", "bob", "hub")
        alice.membership.team, bob.membership.team = (
            SmallRoster.of("alice", "hub"),
            SmallRoster.of("bob", "hub"),
        )
        hub.dial(alice, bob)
        await hub.until_linked(alice)
        await hub.until_linked(bob)
        alice.membership.team.put("bob")
        alice.mesh._ladder.peer_up(B)
        _, event = flash_event("by way of the hub")
        assert (await alice.relay.publish(event)).accepted
        alice.mesh.flashing.sent(event)
        await bob.until_has(event)
        bob.mesh.flashing.acknowledge(bytes.fromhex(event.id), "delivered")
        await alice.until(lambda: B in next(iter(alice.mesh.flashing.status())).has)
