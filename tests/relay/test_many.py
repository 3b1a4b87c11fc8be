"""A thousand connections with ten subscriptions each, on one loop with their clients."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest
from websockets.frames import Frame, Opcode

from meshconsole.node.memory import allow_many_files
from meshconsole.relay.frames import TEXT
from tests.relay.door import door
from tests.relay.making import NOW, event_message, fake_npub, npub, raw, signed

if TYPE_CHECKING:
    from tests.relay.door import Door

CONNECTIONS = 1000
SUBSCRIPTIONS = 10
AT_ONCE = 50
"""Handshakes under way."""


class Follower:
    """A bare WebSocket client: ten subscriptions, one of which is to alice."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def hear(self) -> bytes:
        """The next text message; pings, which a slow machine has time for, are passed over."""
        while True:
            kind, size = await self.reader.readexactly(2)
            if size == 126:
                size = int.from_bytes(await self.reader.readexactly(2), "big")
            message = await self.reader.readexactly(size)
            if kind == TEXT:
                return message


def requests(number: int) -> bytes:
    authors = [fake_npub(f"{number} {count}") for count in range(SUBSCRIPTIONS - 1)]
    asked = [{"authors": [author], "kinds": [1], "limit": 5} for author in authors]
    asked.append({"authors": [npub("alice")], "since": NOW})
    messages = [msgspec.json.encode(("REQ", f"s{count}", each)) for count, each in enumerate(asked)]
    return b"".join(bytes(Frame(Opcode.TEXT, message).serialize(mask=True)) for message in messages)


async def follow(d: Door, number: int) -> Follower:
    reader, writer = await asyncio.open_connection(*d.address.split(":"))
    writer.write(
        f"GET / HTTP/1.1\r\nHost: {d.address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    writer.write(requests(number))
    follower = Follower(reader, writer)
    ended = {await follower.hear() for _ in range(SUBSCRIPTIONS)}
    assert len(ended) == SUBSCRIPTIONS
    assert all(message.startswith(b'["EOSE","s') for message in ended)
    return follower


@pytest.mark.slow
async def test_a_thousand_connections_with_ten_subscriptions_each() -> None:
    allow_many_files()
    async with door() as d:
        followers: list[Follower] = []
        for start in range(0, CONNECTIONS, AT_ONCE):
            followers += await asyncio.gather(*(follow(d, start + count) for count in range(AT_ONCE)))
        status = d.relay.status()
        assert (status.clients, status.subscriptions) == (CONNECTIONS, CONNECTIONS * SUBSCRIPTIONS)
        own = signed(content="for all")
        other = signed(author="nobody follows her")
        for event in (other, own):
            message = bytes(Frame(Opcode.TEXT, event_message(event)).serialize(mask=True))
            followers[0].writer.write(message)
        heard = [await follower.hear() for follower in followers[1:]]
        assert set(heard) == {b'["EVENT","s9",' + raw(own) + b"]"}
        for follower in followers:
            follower.writer.transport.abort()
        while d.relay.status().clients:  # noqa: ASYNC110 - the kernel says when
            await asyncio.sleep(0)
        assert d.relay.status().subscriptions == 0
