"""A relay behind its door on loopback, and the means to knock."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection as Client
from websockets.asyncio.client import connect

from meshconsole.core.sections import RelaySection
from meshconsole.relay.relay import Relay
from meshconsole.relay.server import RelayServer
from tests.relay.making import Clock, Public
from tests.relay.memory import MemoryEventStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from meshconsole.relay.policy import Access


class Door:
    def __init__(self, relay: Relay, server: RelayServer) -> None:
        self.relay = relay
        self.server = server

    @property
    def address(self) -> str:
        return self.server.addresses[0]

    def connect(self, path: str = "/") -> connect:
        return connect(f"ws://{self.address}{path}", compression=None, proxy=None)


@asynccontextmanager
async def door(
    access: Access | None = None,
    config: RelaySection | None = None,
    **more: Any,  # noqa: ANN401
) -> AsyncIterator[Door]:
    relay = Relay(
        MemoryEventStore(Clock()),
        access=access or Public(),
        emit=lambda _: None,
        config=config or RelaySection(rate_limits=False),
    )
    server = RelayServer(relay, **{"host": "127.0.0.1", "port": 0, **more})
    await relay.start()
    await server.start()
    try:
        yield Door(relay, server)
    finally:
        await server.stop()
        await relay.stop()


async def say(client: Client, *parts: object) -> None:
    await client.send(json.dumps(parts))


async def hear(client: Client) -> list[Any]:
    message: list[Any] = json.loads(await client.recv())
    return message


async def http(address: str, *lines: str) -> tuple[str, dict[str, str], bytes]:
    """Status line, headers in lower case, body of one plain request."""
    reader, writer = await asyncio.open_connection(*address.split(":"))
    writer.write("\r\n".join([*lines, f"Host: {address}", "", ""]).encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    status, *headers = head.decode().split("\r\n")
    return status, dict(line.lower().split(": ", 1) for line in headers), body
