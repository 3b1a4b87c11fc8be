"""The command line's end of the control socket: one command, one answer, no event loop."""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from meshconsole import __version__
from meshconsole.control.address import short_address
from meshconsole.control.frames import (
    HEADER,
    MAX_SERVER_FRAME,
    body_length,
    pack,
    pack_command,
    read_server_frame,
)
from meshconsole.control.messages import (
    PROTOCOL,
    Answer,
    Bye,
    Cancel,
    Hello,
    Progress,
    Request,
    Subscribe,
    Welcome,
)
from meshconsole.core.errors import Fatal, RemoteError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from meshconsole.control.messages import Command, Push, Reply, ServerFrame

CONNECT_TIMEOUT_S = 5.0


def call(
    home_socket: Path,
    command: Command,
    *,
    progress: Callable[[Progress], None] | None = None,
    timeout_s: float | None = 60.0,
) -> Reply:
    """One command on the node that serves `home_socket`.

    `timeout_s` bounds the silence between two frames, not the whole command. Raises Unavailable (no
    node, or it does not answer) and Fatal (it speaks another version, or it is another user's).
    """
    with _connection(home_socket) as connection:
        connection.sendall(pack(Request(0, pack_command(command))))
        connection.settimeout(timeout_s)
        try:
            return _await_answer(connection, progress)
        except KeyboardInterrupt:
            connection.sendall(pack(Cancel(0)))
            raise


def stream(home_socket: Path, subscribe: Subscribe) -> Iterator[Push]:
    """The node's pushes, until it stops or the caller closes the iterator. Raises as `call`."""
    with _connection(home_socket) as connection:
        connection.sendall(pack(Request(0, pack_command(subscribe))))
        connection.settimeout(None)
        while True:
            match _receive(connection):
                case Answer(reply=reply):
                    reply.or_raise()
                case Progress() | Welcome():
                    pass
                case Bye(sentence=sentence, hint=hint):
                    raise Unavailable(sentence, hint=hint)
                case push:
                    yield push


def _await_answer(connection: socket.socket, progress: Callable[[Progress], None] | None) -> Reply:
    while True:
        match _receive(connection):
            case Answer(reply=reply):
                return reply
            case Progress() as step:
                if progress is not None:
                    progress(step)
            case Bye(sentence=sentence, hint=hint):
                raise Unavailable(sentence, hint=hint)
            case _:
                pass


@contextmanager
def _connection(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(CONNECT_TIMEOUT_S)
        try:
            with short_address(path) as address:
                connection.connect(address)
        except OSError as error:
            raise no_node(error) from error
        with suppress(ConnectionError):  # a node that sends us away at once says why: that is read next
            connection.sendall(pack(Hello(PROTOCOL, __version__, f"command {os.getpid()}")))
        check_welcome(_receive(connection))
        yield connection


def check_welcome(first: ServerFrame) -> Welcome:
    """The node's first frame, if we may go on. Raises Fatal."""
    match first:
        case Welcome(protocol=protocol) as welcome if protocol == PROTOCOL:
            return welcome
        case Welcome(protocol=protocol, version=version):
            raise Fatal(
                f"The node runs meshconsole {version} (control protocol {protocol}), this is {__version__} "
                f"(control protocol {PROTOCOL}).",
                hint="Stop the node and start it again with this version.",
            )
        case Bye(sentence=sentence, hint=hint):
            raise Fatal(sentence, hint=hint)
        case _:
            raise Fatal(
                "What answers on the control socket is not a meshconsole node.", hint="Is the home right?"
            )


def no_node(error: OSError) -> Unavailable:
    """Why nobody could be reached, for the person at the keyboard."""
    if isinstance(error, PermissionError):
        return Unavailable("The node's control socket belongs to another user.", hint="Use that account.")
    if isinstance(error, FileNotFoundError | ConnectionRefusedError | NotADirectoryError):
        return Unavailable("No node runs in this home.", hint="Start one: meshconsole node")
    return Unavailable(f"The node does not answer on its control socket: {error.strerror or error}.")


def _receive(connection: socket.socket) -> ServerFrame:
    try:
        length = body_length(_exactly(connection, HEADER), MAX_SERVER_FRAME)
        return read_server_frame(_exactly(connection, length))
    except TimeoutError as error:
        raise Unavailable("The node does not answer.", hint="Look at its log.") from error
    except ConnectionError as error:
        raise Unavailable("The node went away.", hint="Look at its log.") from error
    except RemoteError as error:
        raise Fatal(
            "The node sent something that this version does not understand.",
            hint="Stop the node and start it again with this version.",
        ) from error


def _exactly(connection: socket.socket, size: int) -> bytes:
    """Raises ConnectionResetError when the node closed the connection."""
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(min(size - len(parts), 1 << 16))
        if not part:
            raise ConnectionResetError("closed")
        parts += part
    return bytes(parts)
