"""Links that are doubled, silent or on an address that is gone give way to others, and nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.mesh import network, tending
from meshconsole.mesh import session as session_module
from meshconsole.mesh.addresses import Networks
from meshconsole.mesh.links import heartbeat
from tests.mesh.nodes import SmallRoster, TestNode, data_channel, two_linked

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def test_two_dials_at_once_leave_one_link(tmp_path: Path) -> None:
    roster = SmallRoster.of("alice", "bob")
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        async with TestNode("alice", roster, folder) as alice, TestNode("bob", roster, folder) as bob:
            alice.dial(bob)
            bob.dial(alice)
            await alice.until_linked(bob)
            await bob.until_linked(alice)
            sent = await alice.publish("after")
            await bob.until_has(sent)
            await alice.until(lambda: alice.mesh.connections == bob.mesh.connections == 1)
            survivor = alice.ups()[-1] if alice.ups() else None
            assert survivor is not None
            if len(alice.ups()) > 1:
                lower = min((alice, bob), key=lambda node: node.npub)
                assert survivor.dialled == (lower is alice)


async def test_a_peer_that_came_back_replaces_its_own_ghost(tmp_path: Path) -> None:
    roster = SmallRoster.of("alice", "bob")
    (tmp_path / "ghost").mkdir()
    async with (
        TestNode("alice", roster, tmp_path) as alice,
        TestNode("bob", roster, tmp_path / "ghost") as ghost,
    ):
        alice.dial(ghost)
        await alice.until_linked(ghost)
        await ghost.until_linked(alice)
        ghost.membership.team = None
        async with TestNode("bob", roster, tmp_path) as bob:
            bob.dial(alice)
            await alice.until(lambda: len(alice.ups()) == 2)
            sent = await alice.publish("to the living")
            await bob.until_has(sent)
            assert alice.downs()[0].reason == "The peer has started anew."


async def test_a_change_of_the_network_probes_links_and_dials_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "LOOK_S", 0.05)
    roster = SmallRoster.of("alice", "bob")
    async with TestNode("alice", roster, tmp_path) as alice, TestNode("bob", roster, tmp_path) as bob:
        alice.dial(bob)
        alice.mesh.offer_addresses(["127.0.0.1:1"])
        await alice.until_linked(bob)
        failing = next(c for c in alice.mesh._ladder.candidates() if c.address == "127.0.0.1:1")
        await alice.until(lambda: failing.failures >= 2)
        moved = Networks(("10.9.8.7",), frozenset({"10.9.8.7", "127.0.0.1"}), ())
        monkeypatch.setattr(network, "networks", lambda: moved)
        await alice.until(lambda: failing.failures < 2)
        assert alice.mesh._rungs.listen()[0].startswith("127.0.0.1:"), "as the owner set it"
        assert alice.is_linked(bob)


async def test_a_link_on_an_address_that_is_gone_is_made_anew(tmp_path: Path) -> None:
    roster = SmallRoster.of("alice", "bob")
    async with TestNode("alice", roster, tmp_path) as alice, TestNode("bob", roster, tmp_path) as bob:
        alice.dial(bob)
        await alice.until_linked(bob)
        alice.mesh._links.network_changed(frozenset({"127.0.0.1", "10.9.8.7"}))
        assert alice.is_linked(bob), "its address is still there"
        alice.mesh._links.network_changed(frozenset({"10.9.8.7"}))
        await alice.until(lambda: len(alice.ups()) == 2)
        assert alice.downs()[0].reason == "This device has another address now."
        sent = await alice.publish("from elsewhere")
        await bob.until_has(sent)
        first = alice.mesh.status()[0].attempts[-1]
        assert (first.source, first.address, first.outcome) == ("invite", bob.address, "linked")


async def test_a_silent_link_is_replaced_by_a_new_one_before_it_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "PING_S", 0.1)
    monkeypatch.setattr(heartbeat, "SUSPECT_S", 0.5)
    monkeypatch.setattr(tending, "LOOK_S", 0.05)
    async with two_linked(tmp_path) as (alice, bob):
        for node, other in ((alice, bob), (bob, alice)):
            (link,) = node.mesh._links.sessions[other.npub].links
            monkeypatch.setattr(link.pipe, "send", swallow)
        await alice.until(lambda: len(alice.ups()) == 2)
        sent = await alice.publish("over the new one")
        await bob.until_has(sent)
        assert alice.downs()[0].reason == "A newer link to this device is kept."


async def test_a_link_that_falls_silent_gives_way_before_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two links of which the preferred one carries nothing any more, and nobody says so."""
    monkeypatch.setattr(heartbeat, "PING_S", 0.1)
    monkeypatch.setattr(heartbeat, "SUSPECT_S", 0.5)
    monkeypatch.setattr(session_module, "CHECK_S", 0.05)
    async with two_linked(tmp_path) as (alice, bob):
        async with data_channel(alice, bob):
            for node, other in ((alice, bob), (bob, alice)):
                link = next(
                    k for k in node.mesh._links.sessions[other.npub].links if k.pipe.path == "websocket"
                )
                monkeypatch.setattr(link.pipe, "send", swallow)
            sent = await alice.publish("by the other way")
            await bob.until_has(sent)
            assert alice.is_linked(bob, "websocket"), "silent, and not given up yet"
            assert bob.mesh.status()[0].state == "up"
        await bob.until(lambda: bob.mesh.status()[0].state in ("suspect", "down", "connecting"))


async def test_a_stream_that_moves_between_kinds_of_links_brings_each_event_once(tmp_path: Path) -> None:
    """Down to the data channel when the websocket goes, up again when it is back, over and over."""
    async with two_linked(tmp_path) as (alice, bob), data_channel(alice, bob):
        sent = []
        for turn in range(3):
            for number in range(30):
                sent.append(await alice.publish(f"{turn} {number}"))
                sent.append(await bob.publish(f"{turn} {number} back"))
                if number == 15:
                    ends = bob if turn % 2 else alice
                    (link,) = (
                        link
                        for session in ends.mesh._links.sessions.values()
                        for link in session.links
                        if link.pipe.path == "websocket" and link.closed is None
                    )
                    await link.pipe.close("cut off in mid-stream")
            await alice.until_linked(bob)
            await bob.until_linked(alice)
        await alice.until_has(*sent)
        await bob.until_has(*sent)
        for node in (alice, bob):
            # The store has them a moment before those who follow it are told.
            await node.until(lambda node=node: len(node.stored) >= len(sent))  # type: ignore[misc]
            ids = [stored.event.id for stored in node.stored]
            assert len(ids) == len(set(ids)) == len(sent)
            assert node.is_linked(bob if node is alice else alice, "webrtc"), "it was never down"


async def test_of_a_peer_that_has_started_anew_nothing_old_is_believed(tmp_path: Path) -> None:
    """Its home was lost and restored, while a link to the process before has not ended yet."""
    roster = SmallRoster.of("alice", "bob")
    async with TestNode("alice", roster, tmp_path) as alice, TestNode("bob", roster, tmp_path) as bob:
        bob.dial(alice)
        await alice.until_linked(bob)
        await bob.until_linked(alice)
        async with data_channel(alice, bob):
            before = [await alice.publish(f"before {n}") for n in range(3)]
            await bob.until_has(*before)
            bob.mesh._links.nursery.cancel("dialling")  # the dead do not come back
            (tmp_path / "restored").mkdir()
            async with TestNode("bob", roster, tmp_path / "restored") as anew:
                anew.dial(alice)
                await anew.until_has(*before)
                await alice.until(lambda: not alice.is_linked(bob, "webrtc"))


async def swallow(_message: bytes) -> None:
    return None
