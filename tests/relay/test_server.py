"""The door: real sockets on loopback."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import ClientConnection as Client
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.frames import Frame, Opcode

from meshconsole.core.config import RelaySection
from meshconsole.core.errors import Fatal
from meshconsole.core.verdict import ACCEPTED, Verdict, refuse
from meshconsole.relay import client as client_module
from meshconsole.relay.relay import Relay
from meshconsole.relay.server import RelayServer
from tests.relay.making import NOW, Clock, Members, Public, event_message, npub, raw, signed
from tests.relay.memory import MemoryEventStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.server import ServerConnection

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
    server = RelayServer(relay, host="127.0.0.1", port=0, **more)
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


# --- Nostr -----------------------------------------------------------------------------------------


async def test_publish_ask_and_follow() -> None:
    async with door() as d, d.connect() as writer, d.connect("/any/path?x") as reader:
        event = signed(content="é 😀")
        await say(reader, "REQ", "s", {"kinds": [1]})
        assert await hear(reader) == ["EOSE", "s"]
        await writer.send(event_message(event).decode())
        assert await hear(writer) == ["OK", event.id, True, ""]
        assert await reader.recv() == f'["EVENT","s",{raw(event).decode()}]'
        await say(writer, "REQ", "t", {"ids": [event.id]})
        assert (await hear(writer))[2]["id"] == event.id
        assert await hear(writer) == ["EOSE", "t"]
        assert d.server.connections == 2
        assert d.relay.status().clients == 2


async def test_logging_in_over_the_wire() -> None:
    async with door(Members({npub("alice")})) as d, d.connect() as client:
        verb, challenge = await hear(client)
        assert verb == "AUTH"
        await say(client, "REQ", "s", {})
        assert (await hear(client))[2].startswith("auth-required: ")
        for url, accepted in (("ws://evil.example/", False), (f"ws://{d.address}/", True)):
            login = signed(kind=22242, tags=(("relay", url), ("challenge", challenge)))
            await client.send(f'["AUTH",{raw(login).decode()}]')
            assert (await hear(client))[2] is accepted
        await say(client, "REQ", "s", {})
        assert await hear(client) == ["EOSE", "s"]


async def test_each_connection_has_its_own_challenge() -> None:
    async with door(Members()) as d, d.connect() as one, d.connect() as two:
        assert (await hear(one))[1] != (await hear(two))[1]


async def test_hosts_that_the_owner_names_are_ours() -> None:
    async with door(Members(), hosts=lambda: ("relay.team.example",)) as d, d.connect() as client:
        challenge = (await hear(client))[1]
        login = signed(kind=22242, tags=(("relay", "wss://relay.team.example"), ("challenge", challenge)))
        await client.send(f'["AUTH",{raw(login).decode()}]')
        assert (await hear(client))[2] is True


async def test_many_messages_in_one_piece_and_one_in_many() -> None:
    async with door() as d, d.connect() as client:
        events = [signed(content=str(n)) for n in range(40)]
        frames = b"".join(bytes(Frame(Opcode.TEXT, event_message(e)).serialize(mask=True)) for e in events)
        client.transport.write(frames)
        assert {(await hear(client))[1] for _ in events} == {event.id for event in events}
        extra = signed(content="slowly")
        for byte in bytes(Frame(Opcode.TEXT, event_message(extra)).serialize(mask=True)):
            client.transport.write(bytes([byte]))
            await asyncio.sleep(0)
        assert await hear(client) == ["OK", extra.id, True, ""]


async def test_a_large_message_in_small_pieces() -> None:
    async with door() as d, d.connect() as client:
        event = signed(content="x" * 100_000)
        frame = bytes(Frame(Opcode.TEXT, event_message(event)).serialize(mask=True))
        for start in range(0, len(frame), 500):
            client.transport.write(frame[start : start + 500])
            await asyncio.sleep(0)
        assert await hear(client) == ["OK", event.id, True, ""]


@pytest.mark.parametrize("cut", [1, 20, None, -5])
async def test_a_client_that_does_not_wait_for_the_handshake_is_refused(cut: int | None) -> None:
    async with door() as d:
        frames = bytes(Frame(Opcode.TEXT, event_message(signed())).serialize(mask=True)) * 2
        request = (
            f"GET / HTTP/1.1\r\nHost: {d.address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection(*d.address.split(":"))
        writer.write(request.encode() + frames[:cut])
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert d.relay.status().clients == 0


async def test_control_frames_and_fragments_keep_their_place() -> None:
    async with door() as d, d.connect() as client:
        events = [signed(content=str(n)) for n in range(4)]
        messages = [event_message(event) for event in events]
        frames = [
            Frame(Opcode.TEXT, messages[0]),
            Frame(Opcode.PING, b"1"),
            Frame(Opcode.TEXT, messages[1][:50], fin=False),
            Frame(Opcode.PING, b"2"),
            Frame(Opcode.CONT, messages[1][50:100], fin=False),
            Frame(Opcode.CONT, messages[1][100:]),
            Frame(Opcode.BINARY, messages[2]),
            Frame(Opcode.TEXT, messages[3]),
        ]
        client.transport.write(b"".join(bytes(frame.serialize(mask=True)) for frame in frames))
        assert [(await hear(client))[1] for _ in events] == [event.id for event in events]


async def test_a_control_frame_before_part_of_a_message() -> None:
    """The library gets the control frame alone: what follows is not all there yet, and stays ours."""
    async with door() as d, d.connect() as client:
        events = [signed(content=str(n)) for n in range(3)]
        ping = bytes(Frame(Opcode.PING, b"").serialize(mask=True))
        data = ping.join(bytes(Frame(Opcode.TEXT, event_message(e)).serialize(mask=True)) for e in events)
        for start in range(0, len(data), 37):
            client.transport.write(data[start : start + 37])
            for _ in range(3):
                await asyncio.sleep(0)
        assert [(await hear(client))[1] for _ in events] == [event.id for event in events]


async def test_the_library_still_answers_pings() -> None:
    async with door() as d, d.connect() as client:
        await (await client.ping())
        await say(client, "CLOSE")
        assert (await hear(client))[0] == "NOTICE"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (bytes(Frame(Opcode.TEXT, b"[]").serialize(mask=False)), 1002),
        (bytes(Frame(Opcode.CONT, b"[]").serialize(mask=True)), 1002),
        (b"\xc1" + bytes(Frame(Opcode.TEXT, b"[]").serialize(mask=True))[1:], 1002),
        (bytes(Frame(Opcode.TEXT, b'["\xff"]').serialize(mask=True)), 1007),
        (b"\x81\xff" + (1 << 40).to_bytes(8, "big") + b"mask", 1009),
        (
            bytes(Frame(Opcode.TEXT, b"x", fin=False).serialize(mask=True))
            + bytes(Frame(Opcode.TEXT, b"y").serialize(mask=True)),
            1002,
        ),
    ],
)
async def test_violations_close_the_connection(data: bytes, code: int) -> None:
    async with door() as d, d.connect() as client:
        client.transport.write(data)
        with pytest.raises(ConnectionClosedError) as closed:
            await client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == code


async def test_clients_may_close_and_vanish() -> None:
    async with door() as d:
        async with d.connect() as polite:
            await say(polite, "REQ", "s", {})
            await hear(polite)
        rude = await d.connect()
        await say(rude, "REQ", "s", {})
        await hear(rude)
        rude.transport.abort()
        await rude.wait_closed()
        async with d.connect() as last:
            await say(last, "REQ", "s", {})
            await hear(last)
            while d.relay.status().clients > 1:  # noqa: ASYNC110 - the kernel says when
                await asyncio.sleep(0)
            assert d.relay.status().subscriptions == 1


async def test_messages_beyond_the_told_length_but_not_by_far_are_answered() -> None:
    async with door(config=RelaySection(max_event_bytes=1024)) as d, d.connect() as client:
        event = signed(content="x" * 1200)
        await client.send(event_message(event).decode())
        assert await hear(client) == [
            "OK",
            event.id,
            False,
            "invalid: the event is larger than 1024 bytes",
        ]


# --- pressure --------------------------------------------------------------------------------------


async def test_a_client_with_too_much_under_way_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_OFFERED", 4)
    async with door() as d, d.connect() as client:
        events = [signed(content=str(n)) for n in range(100)]
        most = 0
        receive = d.relay.receive

        def watched(session: Any, message: bytes, via: str = "") -> None:  # noqa: ANN401
            nonlocal most
            receive(session, message, via)
            most = max(most, session.offered)

        monkeypatch.setattr(d.relay, "receive", watched)
        frames = b"".join(bytes(Frame(Opcode.TEXT, event_message(e)).serialize(mask=True)) for e in events)
        client.transport.write(frames)
        answers = [await hear(client) for _ in events]
        assert [answer[1] for answer in answers] == [event.id for event in events]
        assert most == 4


async def test_a_client_that_does_not_read_is_not_read_either() -> None:
    async with door(config=RelaySection(rate_limits=False, max_subscriptions=99)) as d, d.connect() as client:
        big = [signed(content="x" * 60_000, created_at=NOW + n) for n in range(10)]
        await d.relay.publish_many(big)
        asked = 40
        for number in range(asked):
            client.protocol.send_text(json.dumps(["REQ", str(number), {}]).encode())
        client.transport.write(b"".join(client.protocol.data_to_send()))
        await hear(client)
        (session,) = d.relay._ports
        opened = len(session.subscriptions)
        ends = events = most = 0
        while ends < asked:
            message = await hear(client)
            ends += message[0] == "EOSE"
            events += message[0] == "EVENT"
            most = max(most, session.unsent)
        assert events == asked * len(big) - 1
        assert opened < asked
        assert most < 10 * 300_000


class Counting:
    """A meter that notes what it is asked for, and lets it pass when its gate is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.blocked = asyncio.Event()
        """Something waits to be sent."""
        self.sent = 0
        self.received = 0

    async def wait_out(self, count: int) -> None:
        self.sent += count
        if not self.gate.is_set():
            self.blocked.set()
        await self.gate.wait()

    async def wait_in(self, count: int) -> None:
        self.received += count
        await self.gate.wait()


class Eager(Counting):
    def __init__(self) -> None:
        super().__init__()
        self.refused = 0

    def try_out(self, count: int) -> bool:
        if not self.gate.is_set():
            self.refused += 1
            return False
        self.sent += count
        return True


@pytest.mark.parametrize("make", [Counting, Eager])
async def test_bandwidth_is_paid_in_both_directions(make: type[Counting]) -> None:
    meter = make()
    async with door(meter=meter) as d, d.connect() as client:
        event = signed()
        frame = bytes(Frame(Opcode.TEXT, event_message(event)).serialize(mask=True))
        client.transport.write(frame)
        answer = await client.recv()
        assert meter.received == len(frame)
        assert meter.sent == 2 + len(answer)
        meter.gate.clear()
        await say(client, "REQ", "s", {})
        await meter.blocked.wait()
        hearing = asyncio.ensure_future(hear(client))
        for _ in range(20):  # loopback delivers within a turn of the loop
            await asyncio.sleep(0)
        assert not hearing.done()
        meter.gate.set()
        assert (await hearing)[0] == "EVENT"
        assert (await hear(client))[0] == "EOSE"


async def test_an_unpaid_flood_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_UNPAID_BYTES", 1000)
    meter = Eager()
    async with door(meter=meter) as d, d.connect() as client:
        meter.gate.clear()
        events = [signed(content=str(n)) for n in range(200)]
        for event in events:
            frame = bytes(Frame(Opcode.TEXT, event_message(event)).serialize(mask=True))
            client.transport.write(frame)
            await asyncio.sleep(0)
        assert meter.received < 20_000
        meter.gate.set()
        answers = [await hear(client) for _ in events]
        assert [answer[1] for answer in answers] == [event.id for event in events]


# --- HTTP ------------------------------------------------------------------------------------------


async def test_nip_11() -> None:
    async with door(name="pi four", npub=npub("alice")) as d:
        status, headers, body = await http(d.address, "GET / HTTP/1.1", "Accept: application/nostr+json")
        assert status == "HTTP/1.1 200 OK"
        assert headers["content-type"] == "application/nostr+json"
        assert headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-headers" in headers
        assert "access-control-allow-methods" in headers
        told = json.loads(body)
        assert (told["name"], told["pubkey"]) == ("pi four", npub("alice"))
        assert told["limitation"]["max_subscriptions"] == d.relay.config.max_subscriptions


async def test_nip_11_tells_limits_as_they_are_now() -> None:
    async with door() as d:
        d.relay.apply(RelaySection(max_limit=7))
        _, _, body = await http(d.address, "GET / HTTP/1.1", "Accept: application/nostr+json")
        assert json.loads(body)["limitation"]["max_limit"] == 7


async def test_browsers_may_ask_first() -> None:
    async with door() as d:
        status, headers, _ = await http(d.address, "OPTIONS / HTTP/1.1", "Origin: https://client.example")
        assert status == "HTTP/1.1 204 No Content"
        assert headers["access-control-allow-origin"] == "*"


async def test_a_browser_is_told_what_this_is() -> None:
    async with door() as d:
        status, _, body = await http(d.address, "GET / HTTP/1.1", "Accept: text/html")
        assert status.startswith("HTTP/1.1 426")
        assert b"Nostr" in body


# --- routes, admission, start and stop -------------------------------------------------------------


async def test_routes_get_the_raw_connection() -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with door(routes={"/mesh": echo}) as d, d.connect("/mesh?x=1") as client:
        await client.send(b"\x00\xff")
        assert await client.recv() == b"\x00\xff"
        assert d.relay.status().clients == 0
        assert d.server.connections == 1


async def test_admission_is_asked_with_kind_and_address() -> None:
    asked = []

    def admit(kind: str, remote: str) -> Verdict:
        asked.append((kind, remote))
        return refuse("restricted", "no more connections") if kind == "client" else ACCEPTED

    async def hold(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with door(routes={"/mesh": hold}, admit=admit) as d:
        async with d.connect("/mesh"):
            pass
        with pytest.raises(InvalidStatus) as refused:
            await d.connect("/")
        assert refused.value.response.status_code == 503
        assert refused.value.response.body == b"no more connections\n"
        status, _, _ = await http(d.address, "GET / HTTP/1.1", "Accept: application/nostr+json")
        assert "200" in status
    assert asked == [("mesh", "127.0.0.1"), ("client", "127.0.0.1")]


async def test_a_taken_port_is_said_in_words() -> None:
    async with door() as d:
        port = int(d.address.split(":")[1])
        other = RelayServer(d.relay, host="127.0.0.1", port=port)
        with pytest.raises(Fatal, match="another program") as fatal:
            await other.start()
        assert "node.listen" in fatal.value.hint
        await other.stop()


async def test_an_address_that_is_not_ours_is_said_in_words() -> None:
    async with door() as d:
        with pytest.raises(Fatal, match=r"Cannot listen on 192\.0\.2\.1:1"):
            await RelayServer(d.relay, host="192.0.2.1", port=1).start()


async def test_ipv6_addresses_are_bracketed() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    async with door() as d:
        server = RelayServer(d.relay, host="::1", port=0)
        try:
            await server.start()
        except Fatal:
            pytest.skip("this machine has no IPv6 loopback")
        assert server.addresses[0].startswith("[::1]:")
        await server.stop()


async def test_stopping_says_goodbye_to_clients() -> None:
    async with door() as d:
        client = await d.connect()
        await say(client, "REQ", "s", {})
        await hear(client)
        await d.server.stop()
        await client.wait_closed()
        assert client.close_code == 1001
        assert d.relay.status().clients == 0
