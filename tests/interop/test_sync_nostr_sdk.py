"""Reconciliation (NIP-77) with rust-nostr in both roles: its client with our relay, its relay with us."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect

from meshconsole.relay.filter import Filter
from meshconsole.relay.items import ItemVector
from meshconsole.relay.reconciliation import Reconciliation
from meshconsole.relay.store import Item
from tests.interop.test_relay_nostr_sdk import MISSING, PATIENCE, note, relay
from tests.relay.making import Public

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

sdk = pytest.importorskip("nostr_sdk", reason=MISSING)

pytestmark = pytest.mark.interop

MANY = 3000
"""More than its frame of 60,000 bytes takes in ids."""


@asynccontextmanager
async def client(url: str, folder: Path) -> AsyncIterator[Any]:
    sdk.uniffi_set_event_loop(asyncio.get_running_loop())
    database = await sdk.NostrLmdb.open(str(folder))
    made = sdk.ClientBuilder().database(database).build()
    await made.add_relay(sdk.RelayUrl.parse(url))
    await made.connect(PATIENCE)
    try:
        yield made
    finally:
        await made.shutdown()


def some_notes(keys: Any, start: int, end: int) -> list[Any]:  # noqa: ANN401 - the package has no types
    return [note(keys, str(n), 1_700_000_000 + n % 400) for n in range(start, end)]


def hexes(events: Sequence[Any]) -> set[str]:
    return {event.id().to_hex() for event in events}


async def test_its_client_downloads_and_uploads_the_differences(tmp_path: Path) -> None:
    keys = sdk.Keys.generate()
    events = some_notes(keys, 0, 160)
    async with relay(tmp_path, Public()) as url, client(url, tmp_path / "sdk") as made:
        for event in events[:120]:
            await made.send_event(event)
        await made.database().wipe()
        for event in events[40:]:
            await made.database().save_event(event)
        wanted = sdk.Filter().kind(sdk.Kind(1))
        options = sdk.SyncOptions().direction(sdk.SyncDirection.BOTH)
        output = await made.sync(wanted, opts=options)
        assert not output.failed
        report = output.report
        assert {i.to_hex() for i in report.local} == hexes(events[120:])
        assert {i.to_hex() for i in report.remote} == hexes(events[:40])
        assert {i.to_hex() for i in report.received} == hexes(events[:40])
        again = await made.sync(wanted, opts=options)
        assert (again.report.local, again.report.remote) == ([], {})


@pytest.mark.slow
async def test_its_client_with_more_than_a_frame_takes(tmp_path: Path) -> None:
    made_of = [bytes.fromhex(f"{n * 2654435761 % 2**256:064x}") for n in range(1, MANY)]
    keys = sdk.Keys.generate()
    events = some_notes(keys, 0, MANY)
    async with relay(tmp_path, Public(), events) as url, client(url, tmp_path / "sdk") as made:
        known = [sdk.NegentropyItem(id=event.id(), timestamp=event.created_at()) for event in events[::2]] + [
            sdk.NegentropyItem(id=sdk.EventId.parse(one.hex()), timestamp=sdk.Timestamp.from_secs(n))
            for n, one in enumerate(made_of)
        ]
        options = sdk.SyncOptions().direction(sdk.SyncDirection.DOWN).dry_run()
        (its_relay,) = (await made.relays()).values()
        summary = await its_relay.sync(sdk.Filter().kind(sdk.Kind(1)), known, options)
        assert {i.to_hex() for i in summary.remote} == hexes(events[1::2])
        assert {i.to_hex() for i in summary.local} == {one.hex() for one in made_of}


@asynccontextmanager
async def its_relay(folder: Path, events: Sequence[Any]) -> AsyncIterator[str]:
    sdk.uniffi_set_event_loop(asyncio.get_running_loop())
    database = await sdk.NostrLmdb.open(str(folder))
    for event in events:
        await database.save_event(event)
    served = sdk.LocalRelayBuilder().addr("127.0.0.1").database(database).build()
    await served.run()
    try:
        yield str(await served.url())
    finally:
        served.shutdown()


@pytest.mark.parametrize("frame_bytes", [4096, 60_000])
async def test_its_relay_tells_us_the_differences(tmp_path: Path, frame_bytes: int) -> None:
    keys = sdk.Keys.generate()
    events = some_notes(keys, 0, 900)
    held = events[200:] + some_notes(keys, 2000, 2100)
    items = ItemVector(
        sorted(Item(event.created_at().as_secs(), bytes.fromhex(event.id().to_hex())) for event in held)
    )
    machine = Reconciliation("sync", Filter(kinds=frozenset({1})), items, frame_bytes=frame_bytes)
    have: list[str] = []
    need: list[str] = []
    async with its_relay(tmp_path / "sdk", events) as url, connect(url, compression=None) as socket:
        while True:
            while machine.outbox:
                await socket.send(machine.outbox.pop(0).decode())
            if machine.is_done:
                break
            said = await socket.recv()
            found = machine.receive(said.encode() if isinstance(said, str) else said)
            have += found.have
            need += found.need
    assert (len(have), len(need)) == (100, 200)
    assert set(have) == hexes(held[700:])
    assert set(need) == hexes(events[:200])
