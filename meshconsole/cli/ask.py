"""Asking the node that runs in a home, and saying clearly when none does."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING, TypeVar

from meshconsole.cli.home import command_line
from meshconsole.control.address import short_address
from meshconsole.control.blocking import CONNECT_TIMEOUT_S, call, no_node
from meshconsole.core.errors import LocalError, Unavailable

if TYPE_CHECKING:
    from meshconsole.control.messages import Command, Progress, Reply
    from meshconsole.core.home import Home

DataT = TypeVar("DataT")


def ask(home: Home, command: Command) -> Reply:
    """The node's answer, if it is yes. Raises Refused with the node's sentence, and Unavailable."""
    meter = ProgressLine()
    try:
        return call(home.control_socket, command, progress=meter.show).or_raise()
    except Unavailable as error:
        raise why_unavailable(home, error) from error
    finally:
        meter.clear()


def ask_for(home: Home, command: Command, kind: type[DataT]) -> DataT:
    """The data of the node's answer."""
    data = ask(home, command).data
    if not isinstance(data, kind):
        raise LocalError(f"The node answered {type(command).__name__} with {type(data).__name__}.")
    return data


def runs(home: Home) -> bool:
    """True if a node accepts connections on this home's control socket. Raises Unavailable if it hangs."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(CONNECT_TIMEOUT_S)
        try:
            with short_address(home.control_socket) as address:
                connection.connect(address)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return False
        except OSError as error:
            raise no_node(error) from error
    return True


def why_unavailable(home: Home, error: Unavailable) -> Unavailable:
    """The same error, with what to do in this very home."""
    if home.shared_socket is not None:
        return Unavailable(
            f"No node lets you attach at {home.shared_socket}.", hint="Ask who looks after this hub."
        )
    if home.wipe_order.exists():
        return Unavailable(
            f"THE WIPE OF {home.path} DID NOT COMPLETE.",
            hint=f"Go on: {command_line('meshconsole panic', home)}",
        )
    if not home.keystore.exists():
        return Unavailable(f"There is no node in {home.path}.", hint=how_to_make(home))
    if not runs(home):
        start, headless = command_line("meshconsole", home), command_line("meshconsole node", home)
        return Unavailable(
            f"The node in {home.path} is not running.", hint=f"Start it with '{start}' or '{headless}'."
        )
    return error


def how_to_make(home: Home) -> str:
    return f"Make one: {command_line('meshconsole init', home)}"


class ProgressLine:
    """One line on standard error that is drawn over itself; nothing without a terminal."""

    def __init__(self) -> None:
        self._drawn = False

    def show(self, step: Progress) -> None:
        if not sys.stderr.isatty():
            return
        from meshconsole.cli.output import printable
        from meshconsole.console.words import size_in_words

        total = "" if step.total is None else f" of {size_in_words(step.total)}"
        print(
            f"\r\033[K{printable(step.words)} {size_in_words(step.have)}{total}",
            end="",
            file=sys.stderr,
            flush=True,
        )
        self._drawn = True

    def clear(self) -> None:
        if self._drawn:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
