"""The flash path: repeated until all have acknowledged, packed to one datagram, receipts that are signed."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from meshconsole.core.event import Event
from meshconsole.core.kinds import TEAM_NOTE
from meshconsole.core.verdict import Verdict, refuse
from meshconsole.crypto.providers import default_provider
from meshconsole.mesh import flashing, late
from meshconsole.mesh.datagrams.messages import (
    MAX_PARTS,
    PART_BYTES,
    PART_NAME,
    FlashNote,
    FlashPart,
    ShortNote,
    decode_datagram,
)
from meshconsole.mesh.datagrams.packing import pack_note, pack_short, unpack_note
from meshconsole.mesh.datagrams.parts import GATHER_S, MAX_GATHERED, Gathering, take_apart
from meshconsole.mesh.datagrams.sealing import MAX_DATAGRAM, Sealer
from meshconsole.mesh.flash import GIVEN_UP_S, MAX_NOTES, OFTEN_S, REPEAT_S, SELDOM_S, Flash
from meshconsole.mesh.links.pipe import Standing
from meshconsole.mesh.links.websocket import WebSocketPipe
from meshconsole.mesh.messages import Receipt, encode
from meshconsole.mesh.receipts import Sent, SentNotes, is_genuine, make_receipt
from meshconsole.team.notes import MAX_NOTE_BYTES
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
    flash.begin(ID, (b"note",), {A}, 0.0)
    sent = times_sent(flash, 2 * GIVEN_UP_S)
    assert sent[:3] == pytest.approx([0.0, REPEAT_S, 2 * REPEAT_S])
    assert sum(at < OFTEN_S for at in sent) == pytest.approx(OFTEN_S / REPEAT_S, abs=1)
    assert sum(at >= OFTEN_S for at in sent) == pytest.approx((GIVEN_UP_S - OFTEN_S) / SELDOM_S, abs=1)
    assert flash.next_timer() is None


def test_who_has_acknowledged_is_not_sent_more_and_the_last_one_ends_it() -> None:
    flash = Flash()
    flash.begin(ID, (b"note",), {A, B}, 0.0)
    flash.acknowledged(ID, A)
    assert [flying.missing for flying in flash.due(0.0)] == [{B}]
    flash.acknowledged(ID, B)
    assert flash.next_timer() is None
    flash.acknowledged(ID, B)


def test_a_change_of_the_network_begins_anew() -> None:
    flash = Flash()
    flash.begin(ID, (b"note",), {A}, 0.0)
    times_sent(flash, 100.0)
    flash.hurry(101.0)
    assert len(times_sent(flash, 101.0 + 10 * REPEAT_S)) >= 10


def test_notes_under_way_are_bounded_and_nobody_to_send_to_is_nothing_to_do() -> None:
    flash = Flash()
    for number in range(2 * MAX_NOTES):
        flash.begin(number.to_bytes(32, "big"), (b"note",), {A}, float(number))
    flash.begin(ID, (b"note",), set(), 0.0)
    assert len(flash.due(2.0 * MAX_NOTES)) == MAX_NOTES


def test_at_forty_percent_loss_each_way_all_notes_arrive_and_soon() -> None:
    """As in the lab, in a thousandth of the time: 200 notes to three, 64 % of the acknowledgements lost."""
    chance = Random(5)
    took: list[float] = []
    for number in range(200):
        flash, event_id, now = Flash(), number.to_bytes(32, "big"), 0.0
        flash.begin(event_id, (b"note",), {A, B, HUB}, now)
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
    packed = pack_note(event)
    assert packed is not None
    (payload,) = packed
    note = decode_datagram(payload)
    assert isinstance(note, FlashNote)
    assert unpack_note(note) == event
    assert team.open_note(unpack_note(note)).text == "bridge is out, use the ford"
    assert len(Sealer((b"k" * 32,)).seal(payload)) <= MAX_DATAGRAM


def test_the_longest_note_that_looks_like_a_short_one_fits_a_datagram() -> None:
    _, short = flash_event("x")
    _, longest = flash_event("x" * 480)
    assert len(short.content) == len(longest.content)
    assert len(pack_note(longest) or ()) == 1
    _, long = flash_event("x" * 600)
    assert len(pack_note(long) or ()) == 2


def test_what_is_no_flash_note_is_not_packed() -> None:
    team, event = flash_event("x")
    routine = team.seal_note("x", NOW)
    assert [
        unpack_note(note)
        for note in map(decode_datagram, pack_note(routine) or ())
        if isinstance(note, FlashNote)
    ] == [routine]
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
(PACKED,) = pack_note(EVENT) or (b"",)


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


# Long notes


def parts_of(text: str) -> tuple[Event, list[FlashPart]]:
    _, event = flash_event(text)
    parts = [decode_datagram(part) for part in pack_note(event) or ()]
    found = [part for part in parts if isinstance(part, FlashPart)]
    assert len(found) == len(parts)
    return event, found


@pytest.mark.parametrize("size", [600, 4_000, MAX_NOTE_BYTES])
def test_a_long_note_goes_in_parts_and_is_the_very_same_event_again(size: int) -> None:
    event, parts = parts_of("x" * size)
    assert all(len(Sealer((b"k" * 32,)).seal(encode(part))) <= MAX_DATAGRAM for part in parts)
    gathering = Gathering()
    Random(size).shuffle(parts)
    wholes = [whole for part in [*parts[:-1], *parts] if (whole := gathering.put(part, 0.0)) is not None]
    note = decode_datagram(wholes[0])
    assert isinstance(note, FlashNote)
    assert unpack_note(note) == event
    gathering.done(parts[0].name, b"id")
    assert gathering.known(parts[0].name) == b"id"
    assert gathering.put(parts[0], 0.0) is None


def test_a_note_that_is_too_long_for_parts_goes_over_links_only() -> None:
    assert take_apart(bytes(MAX_PARTS * PART_BYTES)) is not None
    assert take_apart(bytes(MAX_PARTS * PART_BYTES + 1)) is None


def test_what_is_put_together_is_what_was_taken_apart() -> None:
    _, parts = parts_of("x" * 2_000)
    gathering = Gathering()
    forged = FlashPart(parts[0].name, parts[0].number, parts[0].count, b"forged")
    assert gathering.put(forged, 0.0) is None
    assert [gathering.put(part, 0.0) for part in parts[1:]] == [None] * (len(parts) - 1)
    assert [gathering.put(part, 0.0) is not None for part in parts] == [False] * (len(parts) - 1) + [True]
    odd = FlashPart(b"n" * PART_NAME, 5, 2, b"x")
    assert gathering.put(odd, 0.0) is None
    assert gathering.held(odd.name) == 0


def test_notes_in_parts_are_bounded_in_number_and_time() -> None:
    gathering = Gathering()
    for n in range(3 * MAX_GATHERED):
        gathering.put(FlashPart(n.to_bytes(PART_NAME, "big"), 0, 2, b"x"), 0.0)
    assert len(gathering._notes) == MAX_GATHERED
    last = (3 * MAX_GATHERED - 1).to_bytes(PART_NAME, "big")
    assert gathering.held(last) == 1
    gathering.put(FlashPart(last, 1, 3, b"other count"), 0.0)
    gathering.put(FlashPart(last, 1, 2, b"late"), GATHER_S + 1)
    assert gathering.held(last) == 2


def test_only_parts_that_somebody_lacks_are_sent_a_few_at_a_time() -> None:
    flash = Flash()
    names = tuple(bytes([n]) for n in range(6))
    flash.begin(ID, names, {A, B}, 0.0)
    (flying,) = flash.due(0.0)
    assert flying.take(4) == list(names[:4])
    assert flying.take(4) == [*names[4:], *names[:2]]
    flash.holds(ID, A, 0b111111)
    assert len({*flying.take(4), *flying.take(4)}) == 6, "B has said nothing yet"
    flash.holds(ID, B, 0b011011)
    assert set(flying.take(4)) == {names[2], names[5]}
    flash.holds(ID, B, 0b111111)
    assert flying.take(4), "its receipt is still missing"
    flash.holds(ID, HUB, 1)
    flash.holds(b"other", B, 1)


def test_at_forty_percent_loss_each_way_a_note_of_four_kilobytes_arrives_soon() -> None:
    chance = Random(5)
    took: list[float] = []
    for number in range(60):
        event_id = number.to_bytes(32, "big")
        packed = take_apart(event_id * 125) or ()
        flash, gathering = Flash(), Gathering()
        flash.begin(event_id, packed, {A}, 0.0)
        while (timer := flash.next_timer()) is not None:
            for flying in flash.due(timer):
                for payload in flying.take(4):
                    part = decode_datagram(payload)
                    if not isinstance(part, FlashPart) or chance.random() < 0.4:
                        continue
                    if gathering.known(part.name) is None and gathering.put(part, timer) is not None:
                        gathering.done(part.name, event_id)
                        took.append(timer)
                    if chance.random() < 0.6:
                        if gathering.known(part.name) is None:
                            flash.holds(event_id, A, gathering.held(part.name))
                        else:
                            flash.acknowledged(event_id, A)
    took.sort()
    assert len(took) == 60
    assert took[int(0.95 * len(took))] <= 2.0


async def test_a_long_routine_note_reaches_who_is_heard_and_has_no_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late, "LATE_S", 0.0)
    roster = SmallRoster.of("alice", "bob")
    alice, bob = (TestNode(name, roster, tmp_path, beacons=True) for name in ("alice", "bob"))
    async with alice, bob:
        for node in (alice, bob):
            node.mesh._emcon.level = "quiet"
        alice.mesh._nearby.hearing.heard(B, bob.address, "answer", alice.mesh._now(), hears_us=True)
        team, _ = flash_event("x")
        event = team.seal_note("x" * 9_000, NOW)
        assert len(pack_note(event) or ()) > late.PARTS_AT_ONCE
        assert (await alice.relay.publish(event)).accepted
        alice.mesh.flashing.sent(event)
        await bob.until_has(event)
        await alice.until(lambda: next(iter(alice.mesh.flashing.status())).state == "delivered")
        assert not alice.is_linked(bob)


async def test_a_routine_note_reaches_who_is_heard_and_has_no_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late, "LATE_S", 0.0)
    roster = SmallRoster.of("alice", "bob")
    alice, bob = (TestNode(name, roster, tmp_path, beacons=True) for name in ("alice", "bob"))
    async with alice, bob:
        for node in (alice, bob):
            node.mesh._emcon.level = "quiet"
        alice.mesh._nearby.hearing.heard(B, bob.address, "answer", alice.mesh._now(), hears_us=True)
        team, _ = flash_event("x")
        event = team.seal_note("in its own time", NOW)
        assert (await alice.relay.publish(event)).accepted
        alice.mesh.flashing.sent(event)
        await bob.until_has(event)
        await alice.until(lambda: next(iter(alice.mesh.flashing.status())).state == "delivered")
        assert not alice.is_linked(bob)


async def test_a_note_on_a_link_that_stands_still_comes_beside_it_and_is_not_sent_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a path that lets datagrams through and no stream."""

    async def send_nothing(_pipe: object, _message: bytes) -> None:
        await asyncio.Event().wait()

    roster = SmallRoster.of("alice", "bob")
    alice, bob = (TestNode(name, roster, tmp_path, beacons=True) for name in ("alice", "bob"))
    async with alice, bob:
        alice.dial(bob)
        await alice.until_linked(bob)
        await bob.until_linked(alice)
        session = alice.mesh._links.sessions[B]
        monkeypatch.setattr(WebSocketPipe, "send", send_nothing)
        monkeypatch.setattr(WebSocketPipe, "standing", lambda _pipe: Standing(1_000_000, 1, 0.01, 0.0))
        alice.mesh._nearby.hearing.heard(B, bob.address, "answer", alice.mesh._now(), hears_us=True)
        team, _ = flash_event("x")
        *events, silenced = (team.seal_note(f"beside {n}", NOW) for n in range(3))
        ids = {bytes.fromhex(event.id) for event in events}
        for event in events:
            assert (await alice.relay.publish(event)).accepted
            alice.mesh.flashing.sent(event)
            await bob.until_has(event)
        await alice.until(lambda: all(s.state == "delivered" for s in alice.mesh.flashing.status()))
        assert ids <= session.sync.known._ids.keys(), "the log need not bring them"
        assert ids <= bob.mesh._links.sessions[A].sync.known._ids.keys(), "nor bring them back"
        assert not any(stored.via.startswith("link") for stored in bob.stored if stored.event in events)
        alice.mesh.set_emcon("receive-only")
        assert (await alice.relay.publish(silenced)).accepted
        alice.mesh.flashing.sent(silenced)
        for_bob = alice.mesh.flashing.helping._late[B]
        assert await alice.mesh.flashing.helping._help(B, for_bob) is None
        assert for_bob._notes[bytes.fromhex(silenced.id)].times == 0
        alice.mesh.flashing.helping.owe(bob.address, ID)
        urgent = team.seal_note("urgent", NOW, "flash")
        alice.mesh.flashing.sent(urgent)
        for _ in range(10):
            await asyncio.sleep(0)
        assert alice.mesh.flashing.helping._owed.next_timer() is None, "or it is looked at all the time"
        timer = alice.mesh.flashing._flash.next_timer()
        assert timer is not None
        assert timer > alice.mesh._now()


async def test_a_long_immediate_note_arrives_without_a_link_and_is_acknowledged(tmp_path: Path) -> None:
    """As roll calls do, which look the same."""
    roster = SmallRoster.of("alice", "bob")
    alice, bob = (TestNode(name, roster, tmp_path, beacons=True) for name in ("alice", "bob"))
    async with alice, bob:
        for node in (alice, bob):
            node.mesh._emcon.level = "quiet"
        team, _ = flash_event("x")
        event = team.seal_note("x" * 9_000, NOW, "immediate")
        assert (await alice.relay.publish(event)).accepted
        alice.mesh.flashing.sent(event)
        await bob.until_has(event)
        await alice.until(lambda: next(iter(alice.mesh.flashing.status())).state == "delivered")
        assert not alice.is_linked(bob)


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


def heard_by(node: TestNode, event: Event) -> None:
    """All of a note, as datagrams."""
    for payload in pack_note(event) or ():
        match decode_datagram(payload):
            case FlashNote() as note:
                node.mesh._nearby.on_flash(note, "127.0.0.1:9")
            case FlashPart() as part:
                node.mesh._nearby.on_part(part, "127.0.0.1:9")


@pytest.mark.parametrize("size", [20, 2_000])
async def test_a_forged_copy_keeps_no_note_away(tmp_path: Path, size: int) -> None:
    async with TestNode("bob", SmallRoster.of("alice", "bob"), tmp_path, beacons=True) as bob:
        _, event = flash_event("x" * size)
        heard_by(bob, replace(event, sig="00" * 64))
        heard_by(bob, event)
        await bob.until_has(event)


async def test_a_short_note_is_made_again_and_forged_or_senseless_ones_are_nothing(tmp_path: Path) -> None:
    team, event = flash_event("the ford is deep")
    roster = SmallRoster.of("alice", "bob")
    roster.notes = team
    async with TestNode("bob", roster, tmp_path, beacons=True) as bob:
        short = team.shorten_note(event)
        assert short is not None
        (payload,) = pack_short(short) or ()
        assert len(Sealer((b"k" * 32,)).seal(payload)) == 768
        hear = bob.mesh._nearby.on_short
        for data in (b"nonsense", short[:-1], short.replace(b"ford", b"Ford"), short):
            hear(ShortNote(data), "127.0.0.1:9")
        await bob.until_has(event)
        assert [stored.event for stored in bob.stored if stored.event.kind == TEAM_NOTE] == [event]


async def test_short_notes_that_are_played_again_are_not_made_again_and_floods_of_others_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    team, event = flash_event("the ford is deep")
    roster = SmallRoster.of("alice", "bob")
    roster.notes = team
    short = team.shorten_note(event)
    assert short is not None
    made: list[bytes] = []

    def lengthened(data: bytes) -> Event | None:
        made.append(data)
        return team.lengthen_note(data)

    monkeypatch.setattr(roster, "lengthen_note", lengthened)
    async with TestNode("bob", roster, tmp_path, beacons=True) as bob:
        monkeypatch.setattr(bob.mesh.flashing, "_now", lambda: 0.0)
        hear = bob.mesh._nearby.on_short
        hear(ShortNote(short), "127.0.0.1:9")
        await bob.until_has(event)
        await bob.until(lambda: (bytes.fromhex(event.id), "delivered") in bob.mesh.flashing._given)
        for _ in range(50):
            hear(ShortNote(short), "127.0.0.1:9")
        assert made == [short]
        limit = int(4 * flashing.NOTES_PER_S)
        for n in range(2 * limit):
            hear(ShortNote(b"nonsense %d" % n), "127.0.0.1:9")
        assert len(made) == limit


@pytest.mark.parametrize("size", [20, 2_000])
async def test_a_note_that_was_refused_is_taken_when_it_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    async with TestNode("bob", SmallRoster.of("alice", "bob"), tmp_path, beacons=True) as bob:
        _, event = flash_event("x" * size)
        refused: list[Event] = []

        async def full(offered: Event, **_: object) -> Verdict:
            refused.append(offered)
            return refuse("restricted", "there is no room for more of this author")

        with monkeypatch.context() as patched:
            patched.setattr(bob.relay, "publish", full)
            heard_by(bob, event)
            await bob.until(lambda: refused == [event])
        heard_by(bob, event)
        await bob.until_has(event)


async def test_copies_of_a_refused_note_are_looked_at_so_often_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with TestNode("bob", SmallRoster.of("alice", "bob"), tmp_path, beacons=True) as bob:
        flashing_ = bob.mesh.flashing
        monkeypatch.setattr(flashing_, "_now", lambda: 0.0)
        _, event = flash_event("x")
        limit = int(4 * flashing.NOTES_PER_S)
        for n in range(2 * limit):
            heard_by(bob, replace(event, sig=f"{n:0128x}"))
        assert len(flashing_._taken) == limit
