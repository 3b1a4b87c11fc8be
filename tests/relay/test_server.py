"""The door on real sockets: Nostr over WebSocket."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Frame, Opcode

from meshconsole.core.sections import LimitsSection, RelaySection
from tests.relay.door import door, hear, say
from tests.relay.making import Members, event_message, npub, raw, signed

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection


async def test_publish_ask_and_follow() -> None:
    async with door() as d, d.connect() as writer, d.connect("/?x") as reader:
        event = signed(content="é 😀")
        await say(reader, "REQ", "s", {"kinds": [1]})
        assert await hear(reader) == ["EOSE", "s", ["finish"]]
        await writer.send(event_message(event).decode())
        assert await hear(writer) == ["OK", event.id, True, ""]
        assert await reader.recv() == f'["EVENT","s",{raw(event).decode()}]'
        await say(writer, "REQ", "t", {"ids": [event.id]})
        assert (await hear(writer))[2]["id"] == event.id
        assert await hear(writer) == ["EOSE", "t", ["finish"]]
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
        assert await hear(client) == ["EOSE", "s", ["finish"]]


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
    ids=[
        "unmasked",
        "no beginning",
        "reserved bit",
        "not UTF-8",
        "too long",
        "new begin",
    ],  # masks are random
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


@pytest.mark.parametrize("turns", range(6))
async def test_who_comes_while_the_relay_stops_is_told_or_reset(turns: int) -> None:
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    async with door() as d:
        with socket.socket() as client:
            client.settimeout(10)
            host, _, port = d.address.rpartition(":")
            client.connect((host, int(port)))
            client.sendall(
                f"GET / HTTP/1.1\r\nHost: {d.address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            for _ in range(turns):  # the connection is somewhere between the backlog and its handler
                await asyncio.sleep(0)
            await d.server.stop()
            try:
                said = client.recv(500)
            except ConnectionResetError:
                said = b"HTTP/1.1 503 "
    assert said.startswith((b"HTTP/1.1 503 ", b"HTTP/1.1 101 "))
    assert faults == []


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


async def test_small_events_leave_questions_and_other_rooms_their_length() -> None:
    """Links of the team send frames of 16 KiB; and to follow 20 people takes more than 1024 bytes."""

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    config = RelaySection(max_event_bytes=1024, rate_limits=False)
    async with door(config=config, routes={"/mesh": echo}) as d:
        async with d.connect("/mesh") as link:
            await link.send(bytes(16_384))
            assert await link.recv() == bytes(16_384)
        async with d.connect() as client:
            await say(client, "REQ", "s", {"authors": [f"{n:064x}" for n in range(1900)]})
            assert await hear(client) == ["EOSE", "s", ["finish"]]


async def test_how_large_events_may_be_changes_for_open_connections() -> None:
    async with door() as d, d.connect() as client:
        event = signed(content="x" * 600_000)
        d.relay.apply(RelaySection(max_event_bytes=1 << 20, rate_limits=False))
        d.server.apply(LimitsSection())
        await client.send(event_message(event).decode())
        assert await hear(client) == ["OK", event.id, True, ""]
        d.relay.apply(RelaySection(max_event_bytes=2048))
        d.server.recheck()
        await client.send(event_message(signed(content="x" * 3000)).decode())
        assert (await hear(client))[3] == "invalid: the event is larger than 2048 bytes"
        (connection,) = d.server._connections()
        assert connection.protocol.max_message_size == 2 * (131_072 + 10)


async def test_messages_are_compressed_where_the_owner_and_the_client_want_it() -> None:
    """In both directions, in and out of their order with others, and only from the next connection on."""
    async with door(config=RelaySection(rate_limits=False, compression="on")) as d:
        events = [signed(content=f"{n} " + "again and " * 500) for n in range(3)]
        asked = connect(f"ws://{d.address}/", compression="deflate", proxy=None)
        async with asked as client, d.connect() as plain:
            for event in events:
                await client.send(event_message(event).decode())
            assert [(await hear(client))[1] for _ in events] == [event.id for event in events]
            for reader in (client, plain):
                await say(reader, "REQ", "s", {})
                assert {(await hear(reader))[2]["id"] for _ in events} == {event.id for event in events}
                assert (await hear(reader))[0] == "EOSE"
            assert client.protocol.extensions
            assert not plain.protocol.extensions
            use, other = (session.client.use for session in d.relay._receiving.ports)
            assert use.bytes_out * 5 < other.bytes_out
            assert use.bytes_in < len(event_message(events[0]))
        d.relay.apply(RelaySection(rate_limits=False))
        d.server.apply(LimitsSection())
        async with asked as client:
            assert not client.protocol.extensions


async def test_a_message_that_grows_beyond_the_limit_is_refused() -> None:
    async with (
        door(config=RelaySection(max_event_bytes=2000, compression="on")) as d,
        connect(f"ws://{d.address}/", compression="deflate", proxy=None) as client,
    ):
        await client.send("[" + " " * 5_000_000 + "]")
        with pytest.raises(ConnectionClosedError) as closed:
            await client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
