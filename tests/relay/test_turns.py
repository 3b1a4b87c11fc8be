"""The door on real sockets: whoever sends very much in one piece does not keep the loop from the others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from websockets.frames import Frame, Opcode

from meshconsole.relay import connection as connection_module
from meshconsole.relay.client import ClientPort
from meshconsole.relay.connection import ClientConnection
from tests.relay.door import Door, door, hear, say
from tests.relay.making import event_message, signed

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection as Client
    from websockets.asyncio.server import ServerConnection

    from meshconsole.relay.session import Session


@pytest.fixture(autouse=True)
def no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever one message takes is already too long for one turn."""
    monkeypatch.setattr(connection_module, "TURN_S", -1.0)


def frames(*several: Frame) -> bytes:
    return b"".join(bytes(frame.serialize(mask=True)) for frame in several)


async def served(d: Door, client: Client) -> ClientConnection:
    """The relay's end of the only connection."""
    await say(client, "CLOSE", "")
    await hear(client)
    (connection,) = d.server._connections()
    assert isinstance(connection, ClientConnection)
    return connection


async def test_a_piece_of_many_messages_takes_many_turns() -> None:
    async with door() as d, d.connect() as client:
        connection = await served(d, client)
        connection.data_received(frames(*[Frame(Opcode.TEXT, b'["CLOSE",""]')] * 50))
        assert isinstance(connection._port, ClientPort)
        assert connection._port.messages == 2, "the others are heard in the next turns"
        assert not connection.transport.is_reading()
        for _ in range(50):
            assert (await hear(client))[0] == "NOTICE"
        assert connection.transport.is_reading()


async def test_others_are_answered_while_one_floods() -> None:
    async with door() as d, d.connect() as client:
        connection = await served(d, client)
        async with d.connect() as other:
            connection.data_received(frames(*[Frame(Opcode.PING, b"")] * 5000))
            await say(other, "REQ", "s", {"limit": 0})
            assert (await hear(other))[0] == "EOSE"
            assert connection.is_held, "the flood is not through"
        client.transport.abort()


async def test_what_waits_for_its_turn_keeps_its_order() -> None:
    async with door() as d, d.connect() as client:
        events = [signed(content=str(n)) for n in range(4)]
        messages = [event_message(event) for event in events]
        data = frames(
            Frame(Opcode.TEXT, messages[0]),
            Frame(Opcode.PING, b"1"),
            Frame(Opcode.TEXT, messages[1][:50], fin=False),
            Frame(Opcode.PING, b"2"),
            Frame(Opcode.CONT, messages[1][50:]),
            Frame(Opcode.BINARY, messages[2]),
            Frame(Opcode.TEXT, messages[3]),
        )
        connection = await served(d, client)
        connection.data_received(data[:-10])
        connection.data_received(data[-10:])
        assert [(await hear(client))[1] for _ in events] == [event.id for event in events]


async def test_a_route_of_another_room_takes_turns_too() -> None:
    heard: list[str | bytes] = []
    done = asyncio.Event()

    async def route(connection: ServerConnection) -> None:
        async for message in connection:
            heard.append(message)
            if message == b"end":
                done.set()

    async with door(routes={"/mesh": route}) as d, d.connect("/mesh") as client:
        sent = [str(number).encode() for number in range(3000)]
        client.transport.write(frames(*[Frame(Opcode.BINARY, m) for m in [*sent, b"end"]]))
        await done.wait()
        (connection,) = d.server._connections()
        assert heard == [*sent, b"end"]
        pings = frames(*[Frame(Opcode.PING, b"")] * 5000)
        connection.data_received(pings)
        assert not connection.transport.is_reading()
        assert isinstance(connection, ClientConnection)
        assert len(connection._rest) == len(pings) - connection_module.PIECE_BYTES


@pytest.mark.parametrize("path", ["/", "/mesh"])
async def test_a_connection_that_is_being_closed_takes_turns_too(path: str) -> None:
    """The library goes on reading until the other side has closed: a second, if it does not."""

    async def route(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with door(routes={"/mesh": route}) as d, d.connect(path) as client:
        await client.ping()
        (connection,) = d.server._connections()
        assert isinstance(connection, ClientConnection)
        while path == "/" and connection._port is None:  # noqa: ASYNC110 - a turn or two of the loop
            await asyncio.sleep(0)
        connection.protocol.send_close(1000)
        pings = frames(*[Frame(Opcode.PING, b"")] * 5000)
        connection.data_received(pings)
        assert not connection.transport.is_reading()
        assert len(connection._rest) == len(pings) - connection_module.PIECE_BYTES
        client.transport.abort()


async def test_empty_fragments_without_end_take_no_memory() -> None:
    async with door() as d, d.connect() as client:
        connection = await served(d, client)
        connection.data_received(frames(Frame(Opcode.TEXT, b"[", fin=False)))
        for _ in range(500):
            connection.data_received(frames(Frame(Opcode.CONT, b"", fin=False)))
        assert bytes(connection._fragments) == b"["


async def test_a_fault_in_a_later_turn_ends_the_connection_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))
    async with door() as d, d.connect() as client, d.connect() as other:
        receive = d.relay.receive

        def broken(session: Session, message: bytes, via: str = "") -> None:
            if message == b"[2]":
                raise ZeroDivisionError("bug")
            receive(session, message, via)

        monkeypatch.setattr(d.relay, "receive", broken)
        client.transport.write(frames(*[Frame(Opcode.TEXT, b"[%d]" % number) for number in range(5)]))
        await client.wait_closed()
        await say(other, "REQ", "s", {"limit": 0})
        assert (await hear(other))[0] == "EOSE"
    assert [type(fault) for fault in faults] == [ZeroDivisionError]


@pytest.mark.parametrize("path", ["/", "/mesh"])
async def test_answers_to_somebody_who_has_gone_are_no_lines_in_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    async def route(connection: ServerConnection) -> None:
        await connection.wait_closed()

    monkeypatch.setattr(connection_module, "TURN_S", 60.0)
    async with door(routes={"/mesh": route}) as d, d.connect(path) as client:
        if path == "/":
            await served(d, client)
        (connection,) = d.server._connections()
        assert isinstance(connection, ClientConnection)
        client.transport.abort()
        connection.transport.abort()
        connection.data_received(frames(*[Frame(Opcode.PING, b"")] * 100))
        await connection.wait_closed()
    assert not caplog.records
