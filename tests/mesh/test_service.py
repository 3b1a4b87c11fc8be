"""The mesh as a whole: real relays, servers and keys on loopback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.mesh.nodes import SmallRoster, TestNode

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
