"""Who comes to a node's door: strangers, floods, itself; and whom a node lets in that is full or alone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from websockets.asyncio.client import connect

from meshconsole.core.verdict import Verdict, refuse
from meshconsole.mesh.happenings import LinkRefused
from meshconsole.mesh.links import link as link_module
from tests.mesh.memory_pipe import memory_pipes
from tests.mesh.nodes import SmallRoster, TestNode

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def test_a_stranger_is_refused_and_left_alone(tmp_path: Path) -> None:
    team, others = SmallRoster.of("alice", "bob"), SmallRoster.of("mallory", "bob")
    async with TestNode("bob", team, tmp_path) as bob, TestNode("mallory", others, tmp_path) as mallory:
        await bob.publish("secret")
        mallory.dial(bob)
        await bob.until(lambda: any(isinstance(h, LinkRefused) for h in bob.happenings))
        await mallory.until(lambda: any(isinstance(h, LinkRefused) for h in mallory.happenings))
        (refused,) = [h for h in bob.happenings if isinstance(h, LinkRefused)]
        assert refused.reason == "The other device is not known to this one."
        assert not refused.dialled
        assert mallory.store.count() == 0
        (candidate,) = mallory.mesh._ladder.candidates()
        assert candidate.outcome == "stranger"
        assert candidate.next_try > time.monotonic() + 300
        assert any(bob.address in line and "does not know" in line for line in mallory.mesh.discovery_lines())


async def test_without_a_team_nobody_is_let_in_and_nobody_is_dialled(tmp_path: Path) -> None:
    roster = SmallRoster.of("alice", "bob")
    async with TestNode("alice", roster, tmp_path) as alice, TestNode("bob", None, tmp_path) as bob:
        bob.dial(alice)
        alice.dial(bob)
        await alice.until(lambda: bool(alice.mesh._ladder.candidates()[0].failures))
        assert "has no team" in alice.mesh._ladder.candidates()[0].last_error
        assert bob.mesh._ladder.candidates()[0].attempts == 0
        assert bob.mesh.status() == ()
        bob.membership.team = roster
        bob.mesh.recheck()
        await bob.until_linked(alice)


async def test_a_node_that_is_full_opens_no_more_links(tmp_path: Path) -> None:
    roster = SmallRoster.of("alice", "bob")

    def full(_kind: str, _remote: str) -> Verdict:
        return refuse("restricted", "all 64 connections are in use")

    alice = TestNode("alice", roster, tmp_path, admit=full)
    async with alice, TestNode("bob", roster, tmp_path) as bob:
        alice.dial(bob)
        await alice.until(lambda: bool(alice.mesh._ladder.candidates()[0].failures))
        assert "64 connections" in alice.mesh._ladder.candidates()[0].last_error


async def test_a_node_that_meets_itself_does_not_try_again(tmp_path: Path) -> None:
    async with TestNode("alice", SmallRoster.of("alice", "bob"), tmp_path) as alice:
        alice.dial(alice)
        await alice.until(lambda: alice.mesh._ladder.candidates()[0].outcome == "self")
        assert not any(isinstance(h, LinkRefused) for h in alice.happenings)


async def test_rubbish_at_the_door_ends_that_connection_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "HANDSHAKE_S", 0.5)
    roster = SmallRoster.of("alice", "bob")
    async with TestNode("alice", roster, tmp_path) as alice, TestNode("bob", roster, tmp_path) as bob:
        for rubbish in (b"", b"\x00" * 5000, b"\x16\x03\x01\x00\x05hello", "text"):
            async with connect(f"ws://{alice.address}/mesh", compression=None) as socket:
                await socket.send(rubbish)
                await socket.wait_closed()
        monkeypatch.undo()
        bob.dial(alice)
        await alice.until_linked(bob)


async def test_too_many_silent_connections_of_one_host_are_turned_away(tmp_path: Path) -> None:
    async with TestNode("alice", SmallRoster.of("alice", "bob"), tmp_path) as alice:
        silent = [await connect(f"ws://{alice.address}/mesh") for _ in range(4)]
        await alice.until(lambda: alice.mesh._links._handshakes.total() == 4)
        async with connect(f"ws://{alice.address}/mesh") as fifth:
            await fifth.wait_closed()
            assert fifth.close_reason == "Too many handshakes at once."
        for socket in silent:
            await socket.close()


async def test_ten_thousand_handshakes_at_once_take_four_places(tmp_path: Path) -> None:
    async with TestNode("alice", SmallRoster.of("alice", "bob"), tmp_path) as alice:
        links, nursery = alice.mesh._links, alice.mesh._links.nursery
        ends = [memory_pipes()[0] for _ in range(10_000)]
        for end in ends:
            nursery.spawn("link from a flood", links.inbound(end, "192.0.2.9"))
        await alice.until(lambda: sum(end.ended is not None for end in ends) == len(ends) - 4)
        assert links._handshakes.total() == 4
        assert len(nursery._tasks) < 50
        nursery.cancel("link from a flood")
        await alice.until(lambda: links._handshakes.total() == 0)
