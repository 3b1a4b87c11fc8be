"""Two nodes on one PostgreSQL: what one takes in, the other's clients hear at once, each event once."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from meshconsole.core.event import encode_event
from scripts.postgres import PASSWORD, USER
from tests.relay.making import NOW, signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from meshconsole.core.event import Event
    from scripts.machine import Machine
    from scripts.postgres import Cluster

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

OPEN = ("privacy.share_with_team_only=false", "privacy.require_authentication=false", "relay.rate_limits=off")


@pytest.fixture
def store_url(postgres: Cluster) -> Iterator[str]:
    """Over TCP; the password comes from the environment, as with libpq."""
    with postgres.schema() as url:
        options = url.partition("&options=")[2]
        yield f"postgresql://{USER}@127.0.0.1:{postgres.port}/postgres?options={options}"


@pytest.fixture
def hub(machine: Callable[[str], Machine], store_url: str) -> list[Machine]:
    """Two running nodes on one database. The first has a team."""
    nodes = [machine("left"), machine("right")]
    for node, team in zip(nodes, (("--team", "Falcon"), ()), strict=True):
        node.environment["PGPASSWORD"] = PASSWORD
        node.command("init", "--yes", "--name", node.name, *team, "--set", f"relay.store={store_url}")
        node.start(*OPEN)
    return nodes


class Client:
    """Says and hears Nostr messages."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.heard: list[str] = []
        self.refused: list[str] = []

    async def next(self) -> list[Any]:
        message: list[Any] = json.loads(await self._connection.recv())
        if message[0] == "EVENT":
            self.heard.append(message[2]["id"])
        return message

    async def subscribe(self, **wanted: object) -> None:
        await self._connection.send(json.dumps(["REQ", "s", wanted]))
        while (await self.next())[0] != "EOSE":
            pass

    async def publish(self, event: Event) -> None:
        """Returns when it was accepted, or refused."""
        await self._connection.send('["EVENT",' + encode_event(event).decode() + "]")
        while (message := await self.next())[0] != "OK" or message[1] != event.id:
            pass
        if not message[2]:
            self.refused.append(message[3])

    async def until(self, event: Event) -> None:
        while event.id not in self.heard:
            await self.next()


async def test_each_hears_the_others_events_once(hub: list[Machine]) -> None:
    left, right = hub
    async with (
        asyncio.timeout(60),
        connect(f"ws://{left.address}") as at_left,
        connect(f"ws://{right.address}") as at_right,
        connect(f"ws://{left.address}") as writing_left,
        connect(f"ws://{right.address}") as writing_right,
    ):
        listeners = Client(at_left), Client(at_right)
        writers = Client(writing_left), Client(writing_right)
        for listener in listeners:
            await listener.subscribe(kinds=[1, 20001])
        notes = [
            [signed(name, content=f"{name} {n}", created_at=NOW + n) for n in range(100)]
            for name in ("left", "right")
        ]

        async def write(writer: Client, events: list[Event]) -> None:
            for event in events:
                await writer.publish(event)

        await asyncio.gather(*(write(*pair) for pair in zip(writers, notes, strict=True)))
        whisper = signed("left", kind=20001, content="é" * 20_000)
        both = signed("both", kind=20001)
        await writers[0].publish(whisper)
        await asyncio.gather(*(writer.publish(both) for writer in writers))
        last = signed("last", created_at=NOW + 500)
        await writers[1].publish(last)
        for listener in listeners:
            for event in (last, both, whisper):  # ephemeral ones are in no order with the others
                await listener.until(event)
        everything = {event.id for event in (*notes[0], *notes[1], whisper, both, last)}
        for listener, writer in zip(listeners, writers, strict=True):
            assert writer.refused == []
            assert len(listener.heard) == len(set(listener.heard)), "none twice"
            assert set(listener.heard) == everything
        stored = [[name for name in each.heard if name not in (whisper.id, both.id)] for each in listeners]
        assert stored[0] == stored[1], "in the order of the log"


async def test_a_node_that_dies_takes_nothing_with_it(hub: list[Machine]) -> None:
    left, right = hub
    async with asyncio.timeout(60), connect(f"ws://{right.address}") as at_right:
        listener = Client(at_right)
        await listener.subscribe(kinds=[1])
        async with connect(f"ws://{left.address}") as at_left:
            writer = Client(at_left)
            events = [signed("left", content=str(n), created_at=NOW + n) for n in range(50)]
            for event in events:
                await writer.publish(event)
            await asyncio.to_thread(left.kill, signal.SIGKILL)
        for event in events:
            await listener.until(event)
        after = signed("right", created_at=NOW + 99)
        await at_right.send('["EVENT",' + encode_event(after).decode() + "]")
        await listener.until(after)
        assert len(listener.heard) == 51
    left.start(*OPEN)
    async with asyncio.timeout(60), connect(f"ws://{left.address}") as at_left:
        again = Client(at_left)
        await again.subscribe(kinds=[1])
        assert len(again.heard) == 51


def test_the_store_is_told_and_its_password_is_not(hub: list[Machine], postgres: Cluster) -> None:
    for node in hub:
        told = node.json("status")["relay"]["store"]
        assert told.startswith("PostgreSQL ")
        assert f"127.0.0.1:{postgres.port}, database postgres, user {USER}" in told
        assert "event store" in node.command("doctor", check=False).stdout
        assert "PostgreSQL" in node.command("status").stdout
        assert PASSWORD not in node.log.read_text()
    right = hub[1]
    right.kill(signal.SIGTERM)
    config = (right.home / "config.toml").read_text()
    (right.home / "config.toml").write_text(config.replace(f"{USER}@", f"{USER}:{PASSWORD}@"))
    del right.environment["PGPASSWORD"]
    right.start(*OPEN)
    for arguments in (("config", "show"), ("config", "show", "--json"), ("status", "--json"), ("doctor",)):
        said = right.command(*arguments, check=False).stdout
        assert PASSWORD not in said, arguments
        assert "PostgreSQL" in said or "***" in said or "config" not in arguments
    assert PASSWORD not in right.log.read_text()


def test_a_server_that_is_away_is_said(machine: Callable[[str], Machine]) -> None:
    node = machine("lonely")
    done = node.command(
        "init", "--yes", "--name", "x", "--set", "relay.store=postgresql://u@127.0.0.1:1/db", check=False
    )
    assert done.returncode != 0
    assert "No PostgreSQL server answers" in done.stderr
    refused = node.command(
        "init", "--yes", "--name", "x", "--set", "relay.store=postgresql://u:s3cret@h/db", check=False
    )
    assert refused.returncode != 0
    assert "s3cret" not in refused.stderr
