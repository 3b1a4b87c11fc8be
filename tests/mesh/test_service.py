"""The mesh as a whole: real relays, servers and keys on loopback."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from typing import TYPE_CHECKING

import pytest

from meshconsole.core.errors import RemoteError, Unavailable
from meshconsole.core.kinds import SIGNAL, TEAM_NOTE, TEXT_NOTE
from meshconsole.mesh import session as session_module
from meshconsole.mesh import stocktaking
from meshconsole.mesh.discovery import rungs
from meshconsole.mesh.happenings import LinkRefused
from meshconsole.mesh.linking import NOT_OF_THE_TEAM
from meshconsole.mesh.links.websocket import RTO_MAX_MS, TCP_RTO_MAX_MS, WebSocketPipe
from tests.mesh.nodes import RecordingBlocks, SmallRoster, TestNode, two_linked

if TYPE_CHECKING:
    from pathlib import Path


async def test_two_nodes_link_up_and_exchange_what_they_have(tmp_path: Path) -> None:
    roster = SmallRoster.of("alice", "bob")
    async with TestNode("alice", roster, tmp_path) as alice, TestNode("bob", roster, tmp_path) as bob:
        before = [await alice.publish(f"a{n}") for n in range(30)]
        before += [await bob.publish(f"b{n}") for n in range(30)]
        alice.dial(bob)
        await bob.until_has(*before)
        await alice.until_has(*before)
        live = await bob.publish("live")
        await alice.until_has(live)
        (status,) = alice.mesh.status()
        assert status.state == "up"
        assert status.links[0].group == "X25519MLKEM768"
        assert status.links[0].path == "websocket"
        await alice.until(lambda: alice.mesh.status()[0].lag_events == 0)
        await bob.until(lambda: bob.mesh.status()[0].lag_events == 0)
        assert alice.store.count() == bob.store.count() == 61
        assert alice.mesh.connections == bob.mesh.connections == 1
        assert (alice.mesh.outgoing, bob.mesh.outgoing) == (1, 0)
        assert alice.meter.sent > 10_000


async def test_events_pass_along_a_line_and_come_once(tmp_path: Path) -> None:
    roster = SmallRoster.of("alice", "bob", "carol")
    async with (
        TestNode("alice", roster, tmp_path) as alice,
        TestNode("bob", roster, tmp_path) as bob,
        TestNode("carol", roster, tmp_path) as carol,
    ):
        bob.membership.team = SmallRoster.of("alice", "bob", "carol")
        alice.membership.team = SmallRoster.of("alice", "bob")
        carol.membership.team = SmallRoster.of("bob", "carol")
        bob.dial(alice, carol)
        await bob.until_linked(alice)
        await bob.until_linked(carol)
        sent = [await alice.publish(f"a{n}") for n in range(20)] + [await carol.publish("c")]
        for node in (alice, bob, carol):
            await node.until_has(*sent)
            await node.until(lambda node=node: len(node.stored) >= len(sent))  # type: ignore[misc]
        await alice.until(lambda: alice.mesh.status()[0].lag_events == 0)
        assert [len(node.stored) for node in (alice, bob, carol)] == [len(sent)] * 3


async def test_an_ephemeral_event_reaches_everybody_once(tmp_path: Path) -> None:
    roster = SmallRoster.of("alice", "bob", "carol")
    async with (
        TestNode("alice", roster, tmp_path) as alice,
        TestNode("bob", roster, tmp_path) as bob,
        TestNode("carol", roster, tmp_path) as carol,
    ):
        alice.dial(bob, carol)
        bob.dial(carol)
        for one, other in ((alice, bob), (alice, carol), (bob, carol)):
            await one.until_linked(other)
            await other.until_linked(one)
        await alice.publish("now", SIGNAL)
        for node in (bob, carol):
            await node.until(lambda node=node: len(node.stored) > 0)  # type: ignore[misc]
        mark = await alice.publish("later")
        for node in (bob, carol):
            await node.until_has(mark)
            assert [s.event.content for s in node.stored if s.event.kind == SIGNAL] == ["now"]


async def test_a_removed_device_loses_its_link_and_is_told(tmp_path: Path) -> None:
    ours, theirs = SmallRoster.of("alice", "bob"), SmallRoster.of("alice", "bob")
    async with TestNode("alice", ours, tmp_path) as alice, TestNode("bob", theirs, tmp_path) as bob:
        bob.dial(alice)
        await alice.until_linked(bob)
        await bob.until_linked(alice)
        ours.put("bob", removed=True)
        alice.mesh.recheck()
        await alice.until(lambda: bool(alice.downs()))
        await bob.until(lambda: bool(bob.downs()))
        assert alice.downs()[0].reason == bob.downs()[0].reason == NOT_OF_THE_TEAM
        assert bob.downs()[0].by_peer
        await bob.until(lambda: any(isinstance(h, LinkRefused) for h in bob.happenings))
        assert not alice.is_linked(bob)
        assert alice.mesh.status() == ()


async def test_a_relay_takes_part_with_ciphertext_only(tmp_path: Path) -> None:
    roster = SmallRoster.of("alice")
    roster.put("pi", "relay")
    async with TestNode("alice", roster, tmp_path) as alice, TestNode("pi", roster, tmp_path) as pi:
        plain = await alice.publish("plain", TEXT_NOTE)
        sealed = await alice.publish("c2VhbGVk", TEAM_NOTE)
        alice.dial(pi)
        await pi.until_has(sealed)
        await pi.until(lambda: pi.mesh.status()[0].lag_events == 0)
        assert pi.store.known([plain.id]) == set()


async def test_an_address_that_led_to_a_member_is_saved_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that is killed right after it joined finds its teammate again."""
    monkeypatch.setattr(rungs, "SAVE_S", 3600.0)
    roster = SmallRoster.of("alice", "bob")
    async with TestNode("alice", roster, tmp_path) as alice, TestNode("bob", roster, tmp_path) as bob:
        bob.dial(alice)
        await bob.until(lambda: bob.addresses.known == {alice.npub: [alice.address]})


async def test_a_restarted_node_goes_on_where_it_was(tmp_path: Path) -> None:
    roster = SmallRoster.of("alice", "bob")
    async with TestNode("alice", roster, tmp_path) as alice:
        bob = TestNode("bob", roster, tmp_path)
        await bob.start()
        first = [await alice.publish(f"a{n}") for n in range(50)]
        bob.dial(alice)
        await bob.until_has(*first)
        await bob.until(lambda: bob.mesh.status()[0].lag_events == 0)
        await bob.stop()
        assert bob.addresses.known == {alice.npub: [alice.address]}
        second = [await alice.publish(f"b{n}") for n in range(5)]
        bob.stored.clear()
        async with bob:
            await bob.until_has(*second)
            await bob.until(lambda: len(bob.stored) >= 5)  # told a moment after it is durable
            assert len(bob.stored) == 5, "the cursor spared the rest"
            assert bob.mesh._links.sessions[alice.npub].sync.taking.duplicates == 0


async def test_stopping_says_goodbye_and_takes_less_than_two_seconds(tmp_path: Path) -> None:
    roster = SmallRoster.of("alice", "bob")
    alice = await TestNode("alice", roster, tmp_path).start()
    async with TestNode("bob", roster, tmp_path) as bob:
        alice.dial(bob)
        await bob.until_linked(alice)
        async with asyncio.timeout(2.0):
            await alice.mesh.stop()
        await bob.until(lambda: bool(bob.downs()))
        assert bob.downs()[0].reason == "The node stops."
        assert bob.downs()[0].by_peer
        (status,) = bob.mesh.status()
        assert status.state in ("down", "connecting")
        assert status.last_heard is not None
    await alice.stop()


async def test_a_peer_that_cannot_be_reached_is_shown_with_reason_and_next_try(tmp_path: Path) -> None:
    roster = SmallRoster.of("alice", "bob")
    alice = TestNode("alice", roster, tmp_path)
    bob = TestNode("bob", roster, tmp_path)
    alice.addresses.known = {bob.npub: ["127.0.0.1:1"]}
    async with alice:
        await alice.until(lambda: bool(alice.mesh.status()[0].last_error))
        (status,) = alice.mesh.status()
        assert status.last_error == "127.0.0.1:1 cannot be reached: connection refused."
        assert status.state in ("down", "connecting")
        assert status.addresses == ("127.0.0.1:1",)
        await alice.until(lambda: (alice.mesh.status()[0].next_try or 0) > time.time() - 60)
        assert "cached: 1 address that worked before" in alice.mesh.discovery_lines()
        assert "mdns: switched off" in alice.mesh.discovery_lines()


async def test_cursors_that_cannot_be_read_delay_syncing_and_say_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "CHECK_S", 0.05)
    roster = SmallRoster.of("alice", "bob")
    async with TestNode("alice", roster, tmp_path) as alice, TestNode("bob", roster, tmp_path) as bob:
        works = bob.cursors.get

        def broken(_peer: str, _log_id: str, /) -> int:
            raise Unavailable("The disk does not answer.")

        bob.cursors.get = broken  # type: ignore[method-assign]
        sent = await alice.publish("patience")
        alice.dial(bob)
        await bob.until(lambda: bob.mesh.status()[0].last_error == "The disk does not answer.")
        assert bob.mesh.status()[0].state == "up"
        bob.cursors.get = works  # type: ignore[method-assign]
        await bob.until_has(sent)
        await bob.until(lambda: bob.mesh.status()[0].last_error == "")


async def test_a_burst_while_linked_arrives_whole(tmp_path: Path) -> None:
    roster = SmallRoster.of("alice", "bob")
    async with TestNode("alice", roster, tmp_path) as alice, TestNode("bob", roster, tmp_path) as bob:
        alice.dial(bob)
        await alice.until_linked(bob)
        events = [alice.event(f"burst {n}") for n in range(600)]
        await alice.relay.publish_many(list(events))
        await bob.until_has(*events)
        await bob.until(lambda: len(bob.stored) >= 600)
        assert bob.store.count() == len(bob.stored) == 600


async def test_blocks_travel_beside_events_and_a_rude_peer_loses_its_link(tmp_path: Path) -> None:
    roster = SmallRoster.of("alice", "bob")
    theirs, ours = RecordingBlocks(), RecordingBlocks()
    async with (
        TestNode("alice", roster, tmp_path, content=ours) as alice,
        TestNode("bob", roster, tmp_path, content=theirs) as bob,
    ):
        alice.dial(bob)
        await alice.until_linked(bob)
        await bob.until_linked(alice)
        block = os.urandom(4 * 1024 * 1024)
        await ours.senders[bob.npub](block)
        event = await alice.publish("overtakes")
        await bob.until_has(event)
        await bob.until(lambda: theirs.messages == [block])
        theirs.refusal = RemoteError("unsolicited", "The peer sent a block that nobody asked for.")
        await ours.senders[bob.npub](b"unasked")
        await alice.until(lambda: bool(alice.downs()))
        assert alice.downs()[0].reason == "The peer sent a block that nobody asked for."
        await bob.until(lambda: theirs.told[:2] == ["attach", "detach"])


async def test_each_learns_what_blocks_the_other_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stocktaking, "FIRST_S", 0.0)
    roster = SmallRoster.of("alice", "bob")
    theirs, ours = RecordingBlocks(), RecordingBlocks()
    only_theirs, both, only_ours = (bytes([n]) * 32 for n in range(3))
    theirs.ids, ours.ids = [only_theirs, both], [both, only_ours]
    async with (
        TestNode("alice", roster, tmp_path, content=ours) as alice,
        TestNode("bob", roster, tmp_path, content=theirs) as bob,
    ):
        alice.dial(bob)
        await asyncio.gather(ours.has_stock.wait(), theirs.has_stock.wait())
        assert ours.stocks == {bob.npub: frozenset([only_theirs])}
        assert theirs.stocks == {alice.npub: frozenset([only_ours])}


async def test_a_link_repeats_after_a_second_at_the_latest(tmp_path: Path) -> None:
    """By itself TCP waits up to two minutes when repetitions are lost in a row."""
    with socket.socket() as trial:
        try:
            trial.setsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS, 1000)
        except OSError:
            pytest.skip("this kernel is older than Linux 6.15 and has no TCP_RTO_MAX_MS")
    async with two_linked(tmp_path) as (alice, bob):
        for node, other in ((alice, bob), (bob, alice)):
            (link,) = node.mesh._links.sessions[other.npub].links
            assert isinstance(link.pipe, WebSocketPipe)
            connected = link.pipe._connection.transport.get_extra_info("socket")
            assert connected.getsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS) == RTO_MAX_MS


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's counts are Linux's")
async def test_a_pipe_says_how_far_the_other_end_has_acknowledged(tmp_path: Path) -> None:
    roster = SmallRoster.of("alice", "bob")
    async with TestNode("alice", roster, tmp_path) as alice, TestNode("bob", roster, tmp_path) as bob:
        alice.dial(bob)
        await alice.until_linked(bob)
        (link,) = alice.mesh._links.sessions[bob.npub].links
        before = link.pipe.standing()
        link.probe()
        await alice.until(lambda: (now := link.pipe.standing()) is not None and now.acked == now.handed_on)
        after = link.pipe.standing()
        assert before is not None
        assert after is not None
        assert after.acked >= before.handed_on > 1000, "the handshake was longer"
        assert 0 < after.rtt_s < 1
        link.pipe._connection.transport.abort()  # type: ignore[attr-defined]
        await alice.until(lambda: link.pipe.standing() is None)
