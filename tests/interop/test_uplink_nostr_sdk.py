"""Our uplink with rust-nostr's relay: its login, limits and restart; two nodes share nothing but it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from meshconsole.core.kinds import TEAM_NOTE
from meshconsole.mesh.uplinks import conversation, uplink
from scripts.machine import free_port
from tests.interop.test_relay_nostr_sdk import MISSING
from tests.mesh.nodes import SmallRoster, TestNode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from meshconsole.core.event import Event

sdk = pytest.importorskip("nostr_sdk", reason=MISSING)

pytestmark = pytest.mark.interop

APART = 40
"""Events that each node has, half of which the other has too."""


@asynccontextmanager
async def its_relay(database: Any, port: int, notes_a_minute: int = 100_000) -> AsyncIterator[str]:  # noqa: ANN401 - the package has no types
    limit = sdk.RateLimit(max_reqs=100, notes_per_minute=notes_a_minute)
    login = sdk.LocalRelayBuilderNip42(mode=sdk.LocalRelayBuilderNip42Mode.BOTH)
    builder = sdk.LocalRelayBuilder().addr("127.0.0.1").port(port).database(database)
    served = builder.rate_limit(limit).nip42(login).build()
    await served.run()
    try:
        yield str(await served.url())
    finally:
        served.shutdown()


@asynccontextmanager
async def two(folder: Path) -> AsyncIterator[tuple[TestNode, TestNode, list[Event]]]:
    """Two nodes that cannot link, and what they hold together."""
    roster = SmallRoster.of("alice", "bob")
    async with TestNode("alice", roster, folder) as alice, TestNode("bob", roster, folder) as bob:
        held = [alice.event(f"a{number}", TEAM_NOTE) for number in range(APART + APART // 2)]
        await alice.relay.publish_many(held[:APART])
        await bob.relay.publish_many(held[APART // 2 :])
        yield alice, bob, held


async def test_both_sides_get_what_they_lack_also_after_it_was_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplink, "FIRST_S", 0.05)
    # It says "error: unknown" to one of two who bring the same event at the same moment.
    monkeypatch.setattr(conversation, "BUSY_S", 0.1)
    sdk.uniffi_set_event_loop(asyncio.get_running_loop())
    database, port = await sdk.NostrLmdb.open(str(tmp_path / "sdk")), free_port()
    async with two(tmp_path) as (alice, bob, held):
        async with its_relay(database, port) as url:
            for node in (alice, bob):
                node.mesh.set_uplinks((url,))
            await alice.until_has(*held)
            await bob.until_has(*held)
            await alice.until(lambda: alice.mesh.uplinks()[0].state == "level")
        await alice.until(lambda: alice.mesh.uplinks()[0].state == "waiting")
        meanwhile = [await alice.publish(f"meanwhile {number}", TEAM_NOTE) for number in range(5)]
        async with its_relay(database, port):
            await bob.until_has(*meanwhile)
            live = await bob.publish("live", TEAM_NOTE)
            await alice.until_has(live)
            status = alice.mesh.uplinks()[0]
            assert (status.refused, status.note) == (0, "")


async def test_what_it_puts_off_comes_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "BUSY_S", 0.5)
    sdk.uniffi_set_event_loop(asyncio.get_running_loop())
    database = await sdk.NostrLmdb.open(str(tmp_path / "sdk"))
    async with two(tmp_path) as (alice, _, held), its_relay(database, free_port(), 20) as url:
        alice.mesh.set_uplinks((url,))
        await alice.until(lambda: alice.mesh.uplinks()[0].sent >= 20)
        status = alice.mesh.uplinks()[0]
        assert status.refused == 0
        assert status.lag_out
        assert len(held) > status.sent
