"""--follow: what a command shows, then only what becomes different, a line each, until interrupted.

A line begins with the time of day. What merely ages, such as "3 s ago" or a round trip, is no difference.
With --json the command's value is printed again, as one line, whenever it differs.
"""

from __future__ import annotations

import sys
from argparse import SUPPRESS
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from meshconsole.cli.ask import why_unavailable
from meshconsole.cli.output import print_json, say
from meshconsole.console.words import clock_in_words
from meshconsole.control.blocking import stream
from meshconsole.control.messages import StatusPush, Subscribe
from meshconsole.core.errors import Unavailable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator

    from meshconsole.control.messages import Push
    from meshconsole.core.home import Home
    from meshconsole.core.status import NodeStatus

FPS = 1.0


class Row(NamedTuple):
    """One line of a command. `key` says what it is about; it is printed again when `means` is another."""

    key: str
    cells: tuple[str, ...]
    means: object


class Changes:
    """Which rows have to be printed, given those from before."""

    def __init__(self) -> None:
        self._before: dict[str, Row] = {}

    def take(self, rows: Iterable[Row]) -> list[tuple[str, ...]]:
        now = {row.key: row for row in rows}
        before, self._before = self._before, now
        gone = [("gone:", *row.cells) for key, row in before.items() if key not in now]
        fresh = [row.cells for key, row in now.items() if key not in before or before[key].means != row.means]
        return gone + fresh


def add_follow(parser: argparse.ArgumentParser, *, below: bool = False) -> None:
    """`below`: of an action, whose command has the option as well."""
    words = "go on with what changes until interrupted"
    parser.add_argument(
        "--follow",
        action="store_true",
        default=SUPPRESS if below else False,
        help=SUPPRESS if below else words,
    )


def follow_status(
    home: Home,
    *,
    as_json: bool,
    rows: Callable[[NodeStatus], Iterable[Row]],
    value: Callable[[NodeStatus], object],
) -> None:
    """Until the node stops, which raises Unavailable, or the person interrupts."""
    changes, last = Changes(), b""
    for push in pushes(home):
        if not isinstance(push, StatusPush):
            continue
        if as_json:
            packed = msgspec.json.encode(value(push.status))
            if packed != last:
                print_json(value(push.status))
            last = packed
        else:
            print_changes(changes.take(rows(push.status)), push.status.now)
        sys.stdout.flush()


def pushes(home: Home, wanted: Subscribe | None = None) -> Iterator[Push]:
    """What the node tells. Raises Unavailable with what to do in this home."""
    try:
        yield from stream(home.control_socket, wanted or Subscribe(FPS, events=False, blobs=False))
    except Unavailable as error:
        raise why_unavailable(home, error) from error


def print_changes(lines: Iterable[tuple[str, ...]], now: float) -> None:
    for cells in lines:
        say("  ".join([clock_in_words(now), *(cell for cell in cells if cell)]))
