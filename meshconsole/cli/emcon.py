"""Emission control: what it is, and setting it. It holds at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from meshconsole.cli.ask import ask
from meshconsole.cli.following import Row, add_follow, follow_status
from meshconsole.cli.home import home_of
from meshconsole.cli.output import print_json, say
from meshconsole.cli.reading import node_status
from meshconsole.console.urgent import LEVELS
from meshconsole.control.config import SetConfig
from meshconsole.core.sections import EmconLevel

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from meshconsole.core.status import NodeStatus


def configure(_command: str, parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "level",
        nargs="?",
        choices=get_args(EmconLevel),
        metavar="LEVEL",
        help="open, quiet, receive-only or dark; without it: what it is",
    )
    parser.add_argument("--json", action="store_true", help="print the level as JSON")
    add_follow(parser)
    parser.set_defaults(run=emcon)


def emcon(parsed: argparse.Namespace) -> None:
    home = home_of(parsed.home)
    if parsed.level is not None:
        ask(home, SetConfig({"privacy": {"emcon": parsed.level}}))
    if parsed.follow:
        follow_status(home, as_json=parsed.json, rows=_rows, value=lambda now: {"emcon": now.emcon})
        return
    level = parsed.level or node_status(home).emcon
    if parsed.json:
        print_json({"emcon": level})
    else:
        say(_in_words(level))


def _rows(now: NodeStatus) -> Iterator[Row]:
    yield Row("emcon", (_in_words(now.emcon),), now.emcon)


def _in_words(level: EmconLevel) -> str:
    meaning = next(words for name, _, words in LEVELS if name == level)
    return f"Emission control is {level}: {meaning}."
