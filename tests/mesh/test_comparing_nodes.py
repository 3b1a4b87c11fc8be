"""Comparing between whole nodes: real stores, with what they have deleted and forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.mesh import comparing
from meshconsole.relay.filter import Filter
from tests.mesh.nodes import SmallRoster, TestNode

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def pass_over(taker: TestNode, server: TestNode) -> None:
    """The taker's cursor stands at the end of the server's log, whatever it has taken."""
    taker.cursors.put(server.npub, server.store.log_id, server.store.head_seq)


async def test_what_a_cursor_passed_over_comes_and_what_was_deleted_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "FIRST_S", 0.01)
    roster = SmallRoster.of("alice", "bob")
    async with TestNode("alice", roster, tmp_path) as alice, TestNode("bob", roster, tmp_path) as bob:
        shared = [await alice.publish(f"shared {n}") for n in range(40)]
        assert all(v.accepted for v in await bob.relay.publish_many(shared, via="local"))
        missing = [await alice.publish(f"missing {n}") for n in range(3)]
        unwanted = shared[7]
        await bob.relay.delete([Filter(ids=frozenset({unwanted.id}))])
        pass_over(bob, alice)
        pass_over(alice, bob)
        alice.dial(bob)
        await bob.until_has(*missing)
        await bob.until(lambda: bob.mesh.status()[0].lag_events == 0)
        assert bob.store.known([unwanted.id]) == set()
        assert bob.store.count() == 42
        assert alice.store.count() == 43, "what a teammate's owner deleted stays with the others"


async def test_a_long_backlog_between_nodes_that_have_most_of_it_costs_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshconsole.mesh.serving.LONG_BACKLOG", 200)
    roster = SmallRoster.of("alice", "bob")
    async with TestNode("alice", roster, tmp_path) as alice, TestNode("bob", roster, tmp_path) as bob:
        shared = [alice.event(f"shared {n}") for n in range(400)]
        for node in (alice, bob):
            await node.relay.publish_many(shared, via="local")
        fresh = [await alice.publish("a"), await bob.publish("b")]
        alice.dial(bob)
        for node in (alice, bob):
            await node.until_has(*fresh)
        for node in (alice, bob):
            await node.until(lambda node=node: node.mesh.status()[0].lag_events == 0)  # type: ignore[misc]
            assert node.store.count() == 402
        assert alice.cursors.get(bob.npub, bob.store.log_id) >= 401
        # The handshake is 20 kB; offering 402 rows each way would be 29 kB.
        assert alice.meter.sent + bob.meter.sent < 36_000
