"""The relay against rust-nostr's client (nostr-sdk): publish, query, follow, log in, delete, sync refusal."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from meshconsole.core.sections import RelaySection
from meshconsole.relay.event import read_event
from meshconsole.relay.relay import Relay
from meshconsole.relay.server import RelayServer
from meshconsole.relay.sqlite import SqliteEventStore
from tests.relay.making import KEY, TAG_KEY, Members, Public

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from meshconsole.relay.policy import Access

MISSING = "nostr-sdk is not installed; get it with: make dev, or pip install nostr-sdk==0.45.1"
sdk = pytest.importorskip("nostr_sdk", reason=MISSING)

pytestmark = pytest.mark.interop

PATIENCE = timedelta(seconds=10)


@asynccontextmanager
async def relay(folder: Path, access: Access, events: Sequence[Any] = ()) -> AsyncIterator[str]:
    store = SqliteEventStore(folder / "node.db", KEY, TAG_KEY)
    store.add([read_event(event.as_json().encode()).event for event in events])
    service = Relay(store, access=access, emit=lambda _: None, config=RelaySection())
    server = RelayServer(service, host="127.0.0.1", port=0)
    await service.start()
    await server.start()
    try:
        yield f"ws://{server.addresses[0]}"
    finally:
        await server.stop()
        await service.stop()
        store.close()


@asynccontextmanager
async def client(url: str, keys: Any = None) -> AsyncIterator[Any]:  # noqa: ANN401 - the package has no types
    sdk.uniffi_set_event_loop(asyncio.get_running_loop())  # for the callbacks of its own threads
    builder = sdk.ClientBuilder()
    if keys is not None:
        builder = builder.authenticator(sdk.SignerAuthenticator(keys))
    made = builder.build()
    await made.add_relay(sdk.RelayUrl.parse(url))
    await made.connect(PATIENCE)
    try:
        yield made
    finally:
        await made.shutdown()


def note(keys: Any, content: str, at: int | None = None, kind: int = 1, tags: Any = ()) -> Any:  # noqa: ANN401
    builder = sdk.EventBuilder(sdk.Kind(kind), content).tags([sdk.Tag.parse(list(tag)) for tag in tags])
    if at is not None:
        builder = builder.custom_created_at(sdk.Timestamp.from_secs(at))
    return builder.finalize(keys)


async def ask(made: Any, **fields: Any) -> list[str]:  # noqa: ANN401
    wanted = sdk.Filter.from_json(json.dumps(fields))
    events = await made.fetch_events(sdk.ReqTarget.auto([wanted]), PATIENCE)
    return [event.content() for event in events]


async def test_publish_and_query(tmp_path: Path) -> None:
    keys = sdk.Keys.generate()
    async with relay(tmp_path, Public()) as url, client(url) as made:
        for n in range(3):
            output = await made.send_event(note(keys, f"note {n} é 漢 \n\t", 1000 + n, tags=[("t", "x")]))
            assert len(output.success) == 1
            assert not output.failed
        author = keys.public_key().to_hex()
        assert await ask(made, authors=[author]) == [f"note {n} é 漢 \n\t" for n in (2, 1, 0)]
        assert await ask(made, authors=[author], limit=1) == ["note 2 é 漢 \n\t"]
        assert len(await ask(made, **{"#t": ["x"]})) == 3
        assert await ask(made, **{"#t": ["y"]}) == []
        assert len(await ask(made, since=1001, until=1001)) == 1


async def test_replace_and_delete(tmp_path: Path) -> None:
    keys = sdk.Keys.generate()
    async with relay(tmp_path, Public()) as url, client(url) as made:
        for n in (1, 2):
            await made.send_event(note(keys, f"version {n}", 1000 + n, 30023, [("d", "a:b")]))
        assert await ask(made, kinds=[30023]) == ["version 2"]
        event = note(keys, "gone", 1000)
        await made.send_event(event)
        await made.send_event(note(keys, "", 2000, 5, [("e", event.id().to_hex())]))
        assert await ask(made, kinds=[1]) == []
        refused = await made.send_event(event)
        assert not refused.success
        assert "blocked" in next(iter(refused.failed.values()))


async def test_follow(tmp_path: Path) -> None:
    keys = sdk.Keys.generate()
    async with relay(tmp_path, Public()) as url, client(url) as reader, client(url) as writer:
        notifications = reader.notifications()
        wanted = sdk.Filter().kind(sdk.Kind(1)).limit(0)
        await reader.subscribe(sdk.ReqTarget.auto([wanted]))
        while not (said := await notifications.next()).is_MESSAGE() or "EOSE" not in said.message.as_json():
            assert not said.is_SHUTDOWN()
        event = note(keys, "live")
        await writer.send_event(event)
        while not (said := await notifications.next()).is_NEW_EVENT():
            assert not said.is_SHUTDOWN()
        assert said.event.id() == event.id()


async def test_log_in_when_the_relay_asks(tmp_path: Path) -> None:
    alice, mallory = sdk.Keys.generate(), sdk.Keys.generate()
    members = Members({alice.public_key().to_hex()})
    async with relay(tmp_path, members) as url:
        async with client(url, alice) as made:
            output = await made.send_event(note(alice, "hello"))
            assert len(output.success) == 1, output.failed
            assert await ask(made, kinds=[1]) == ["hello"]
        async with client(url, mallory) as made:
            output = await made.send_event(note(mallory, "let me in"))
            assert not output.success
            assert "restricted" in next(iter(output.failed.values()))


async def test_protected_events_need_their_author(tmp_path: Path) -> None:
    alice, bob = sdk.Keys.generate(), sdk.Keys.generate()
    event = note(alice, "mine", tags=[("-",)])
    async with relay(tmp_path, Public()) as url:
        async with client(url, bob) as made:
            assert not (await made.send_event(event)).success
        async with client(url, alice) as made:
            assert (await made.send_event(event)).success


async def test_search(tmp_path: Path) -> None:
    keys = sdk.Keys.generate()
    async with relay(tmp_path, Public()) as url, client(url) as made:
        await made.send_event(note(keys, "The bridge is open", 1000))
        await made.send_event(note(keys, "Water at the school", 1001))
        assert await ask(made, search="bridge OPEN") == ["The bridge is open"]
        assert await ask(made, search="bridge water") == []


async def test_gift_wraps_reach_their_reader_alone(tmp_path: Path) -> None:
    alice, bob, carol = (sdk.Keys.generate() for _ in range(3))
    members = Members({keys.public_key().to_hex() for keys in (alice, bob, carol)})
    rumor = sdk.EventBuilder(sdk.Kind(14), "for bob alone").finalize_unsigned(alice.public_key())
    wrap = sdk.nip59_make_gift_wrap(alice, bob.public_key(), rumor)
    mine = {"kinds": [1059], "#p": [bob.public_key().to_hex()]}
    async with relay(tmp_path, members) as url:
        async with client(url, alice) as made:
            output = await made.send_event(wrap)
            assert output.success, output.failed
        async with client(url, bob) as made:
            wanted = sdk.Filter.from_json(json.dumps(mine))
            (found,) = await made.fetch_events(sdk.ReqTarget.auto([wanted]), PATIENCE)
            assert sdk.UnwrappedGift.from_gift_wrap(bob, found).rumor().content() == "for bob alone"
        async with client(url, carol) as made:
            await made.send_event(note(carol, "to be logged in"))
            assert await ask(made, ids=[wrap.id().to_hex()]) == []
