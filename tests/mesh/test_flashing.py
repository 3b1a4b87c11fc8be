"""Urgent and long notes between whole nodes: heard without a link, acknowledged, and not from forgers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from meshconsole.core.kinds import TEAM_NOTE
from meshconsole.core.verdict import Verdict, refuse
from meshconsole.mesh import flashing, late
from meshconsole.mesh.datagrams.messages import FlashNote, FlashPart, ShortNote, decode_datagram
from meshconsole.mesh.datagrams.packing import pack_note, pack_short
from meshconsole.mesh.datagrams.sealing import Sealer
from meshconsole.mesh.links.pipe import Standing
from meshconsole.mesh.links.websocket import WebSocketPipe
from tests.mesh.devices import NOW, flash_event, identity
from tests.mesh.nodes import SmallRoster, TestNode

if TYPE_CHECKING:
    from pathlib import Path

    from meshconsole.core.event import Event

A, B, HUB = (identity(name).npub for name in ("alice", "bob", "hub"))
ID = b"i" * 32


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
