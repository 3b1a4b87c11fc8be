"""What `relay/connection.py` uses of the inside of websockets. Run this before raising its pin."""

from __future__ import annotations

from importlib.metadata import version

import pytest
from websockets.asyncio.connection import Connection
from websockets.asyncio.messages import Assembler
from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def masked(opcode: Opcode, payload: bytes, *, fin: bool = True) -> bytes:
    return bytes(Frame(opcode, payload, fin).serialize(mask=True))


@pytest.fixture
def protocol() -> ServerProtocol:
    """A protocol after its handshake."""
    made = ServerProtocol(max_size=1000)
    made.receive_data(REQUEST)
    (request,) = made.events_received()
    made.send_response(made.accept(request))  # type: ignore[arg-type]
    made.data_to_send()
    assert made.state is State.OPEN
    return made


def test_the_pinned_version() -> None:
    assert version("websockets").startswith("17.4")


@pytest.mark.parametrize(
    "name",
    [
        "connection_made",
        "connection_lost",
        "data_received",
        "eof_received",
        "pause_writing",
        "process_event",
        "resume_writing",
        "send_data",
        "wait_closed",
    ],
)
def test_the_methods_that_are_overridden_or_called(name: str) -> None:
    assert callable(getattr(ServerConnection, name))


def test_data_frames_come_through_process_event() -> None:
    assert "process_event" in Connection.data_received.__code__.co_names
    assert "process_event" in vars(ServerConnection)


def test_the_protocol_tells_its_limits_and_its_place(protocol: ServerProtocol) -> None:
    assert protocol.max_message_size == 1000
    assert protocol.current_size is None
    assert not protocol.reader.buffer
    assert protocol.extensions == []


async def test_what_waits_to_be_received_tells_whether_reading_is_paused() -> None:
    assert Assembler(high=1).paused is False


def test_an_open_fragmented_message_shows(protocol: ServerProtocol) -> None:
    sizes = []
    for frame in (
        masked(Opcode.TEXT, b"a", fin=False),
        masked(Opcode.PING, b""),
        masked(Opcode.CONT, b"b"),
    ):
        protocol.receive_data(frame)
        sizes.append(protocol.current_size)
    assert sizes == [1, 1, None]
    frames = [event for event in protocol.events_received() if isinstance(event, Frame)]
    assert [frame.opcode for frame in frames] == [Opcode.TEXT, Opcode.PING, Opcode.CONT]


def test_whole_frames_leave_nothing_in_the_reader(protocol: ServerProtocol) -> None:
    """So frames may be read beside the library between two that it gets."""
    for frame in (masked(Opcode.PING, b"x"), masked(Opcode.TEXT, b"y"), masked(Opcode.BINARY, b"z" * 500)):
        protocol.receive_data(frame)
        assert not protocol.reader.buffer


@pytest.mark.parametrize("cut", [4, None])
def test_frames_that_came_with_the_request_show(cut: int | None) -> None:
    early = ServerProtocol()
    early.receive_data(REQUEST + masked(Opcode.TEXT, b"early")[:cut])
    frames = [event for event in early.events_received() if isinstance(event, Frame)]
    assert frames or early.reader.buffer


def test_too_large_is_refused_from_the_header_alone(protocol: ServerProtocol) -> None:
    protocol.receive_data(masked(Opcode.TEXT, b"x" * 2000)[:8])
    assert protocol.state is State.CLOSING
    assert protocol.close_sent is not None
    assert protocol.close_sent.code == 1009


def test_frames_written_beside_the_library_are_what_it_would_write(protocol: ServerProtocol) -> None:
    protocol.send_text(b"hello")
    assert protocol.data_to_send() == [b"\x81\x05hello"]


def test_failing_closes_with_a_code(protocol: ServerProtocol) -> None:
    protocol.fail(1007, "text that is not UTF-8")
    data = protocol.data_to_send()
    assert data[0][2:4] == (1007).to_bytes(2, "big")
    assert protocol.state is State.CLOSING


def test_a_ping_may_be_sent_without_waiting_for_its_answer(protocol: ServerProtocol) -> None:
    protocol.send_ping(b"")
    assert protocol.data_to_send() == [b"\x89\x00"]
    protocol.receive_data(masked(Opcode.PONG, b""))
    assert protocol.state is State.OPEN
