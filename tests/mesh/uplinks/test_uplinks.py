"""Two nodes that cannot link to each other, and a plain relay between them that wants to know its clients."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from meshconsole.core.event import encode_event
from meshconsole.core.kinds import ROSTER_ENTRY, TEAM_NOTE
from meshconsole.mesh.uplinks import uplink
from tests.mesh.nodes import SmallRoster, TestNode
from tests.relay.door import door
from tests.relay.making import Members

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def test_sealed_events_pass_over_a_relay_that_asks_who_is_there(tmp_path: Path) -> None:
    roster = SmallRoster.of("alice", "bob")
    async with (
        TestNode("alice", roster, tmp_path) as alice,
        TestNode("bob", roster, tmp_path) as bob,
        door(Members({alice.npub, bob.npub})) as hub,
    ):
        hub.relay.house.is_device = lambda npubs: bool({alice.npub, bob.npub} & set(npubs))
        sealed = [await alice.publish(f"a{n}", TEAM_NOTE) for n in range(30)]
        sealed += [await bob.publish(f"b{n}", TEAM_NOTE) for n in range(20)]
        plain = [await alice.publish("plain"), await alice.publish("roster", ROSTER_ENTRY)]
        for node in (alice, bob):
            node.mesh.set_uplinks((f"ws://{hub.address}",))
        for node in (alice, bob):
            await node.until_has(*sealed)
        live = await bob.publish("live", TEAM_NOTE)
        await alice.until_has(live)
        await alice.until(lambda: alice.mesh.uplinks()[0].state == "level")
        assert bob.store.known([event.id for event in plain]) == set()
        assert hub.relay.store.count() == 51
        assert alice.mesh.uplinks()[0].lag_in == alice.mesh.uplinks()[0].lag_out == 0
        alice.mesh.set_uplinks(())
        assert alice.mesh.uplinks() == ()


async def test_a_relay_that_floods_with_what_nobody_wants_is_left(tmp_path: Path) -> None:
    roster = SmallRoster.of("alice")
    stranger = [TestNode("mallory", roster, tmp_path).event(f"m{n}", TEAM_NOTE) for n in range(200)]

    async def flood(connection: ServerConnection) -> None:
        for event in stranger:
            await connection.send(b'["EVENT","live",' + encode_event(event) + b"]", text=True)
        await connection.wait_closed()

    async with TestNode("alice", roster, tmp_path) as alice, serve(flood, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        alice.mesh.set_uplinks((f"ws://127.0.0.1:{port}",))
        await alice.until(lambda: alice.mesh.uplinks()[0].state == "waiting")
        assert "not what they claim" in alice.mesh.uplinks()[0].note
        assert alice.mesh.uplinks()[0].next_try is not None
        assert alice.store.count() == 0


async def test_a_relay_that_ends_the_connection_at_large_events_gets_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplink, "FIRST_S", 0.01)
    async with (
        TestNode("alice", SmallRoster.of("alice"), tmp_path) as alice,
        door(Members({alice.npub})) as hub,
        serve(partial(_pass_on, hub.address), "127.0.0.1", 0, max_size=131_072) as narrow,
    ):
        hub.relay.house.is_device = lambda npubs: alice.npub in npubs
        large = await alice.publish("x" * 140_000, TEAM_NOTE)
        small = [await alice.publish(f"a{n}", TEAM_NOTE) for n in range(20)]
        alice.mesh.set_uplinks((f"ws://127.0.0.1:{narrow.sockets[0].getsockname()[1]}",))
        await alice.until(lambda: alice.mesh.uplinks()[0].state == "level")
        assert alice.mesh.uplinks()[0].note == "It takes no event of 140 kB."
        held = hub.relay.store.known([event.id for event in (large, *small)])
        assert held == {event.id for event in small}


async def test_what_size_a_relay_does_not_take_is_found_out_anew_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with TestNode("alice", SmallRoster.of("alice"), tmp_path) as alice:
        alice.mesh.set_uplinks(("ws://127.0.0.1:9",))
        ((line, _),) = alice.mesh._uplinks._running.values()
        now = 100.0
        monkeypatch.setattr(line, "_around", replace(line._around, now=lambda: now))
        for _ in range(uplink.ENDS_TWICE):
            line._learn_size(("e" * 64, 140_000))
        assert line._limit() == 140_000
        now += uplink.TOO_LARGE_S
        assert line._limit() == uplink.MAX_MESSAGE


async def _pass_on(address: str, connection: ServerConnection) -> None:
    """Between an uplink and its relay."""
    async with connect(f"ws://{address}") as onward:

        async def back() -> None:
            async for message in onward:
                await connection.send(message)

        returning = asyncio.create_task(back())
        with suppress(ConnectionClosed):
            async for message in connection:
                await onward.send(message)
        returning.cancel()


async def test_a_relay_that_is_not_there_is_said_so_and_tried_again(tmp_path: Path) -> None:
    async with TestNode("alice", SmallRoster.of("alice"), tmp_path) as alice:
        alice.mesh.set_uplinks(("ws://127.0.0.1:9",))
        await alice.until(lambda: alice.mesh.uplinks()[0].state == "waiting")
        assert alice.mesh.uplinks()[0].note == "It cannot be reached: connection refused."
