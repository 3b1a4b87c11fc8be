"""Emission control: what it is, and setting it. It holds at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from meshconsole.cli.ask import ask
from meshconsole.cli.home import home_of
from meshconsole.cli.output import print_json, say
from meshconsole.cli.reading import node_status
from meshconsole.console.urgent import LEVELS
from meshconsole.control.messages import SetConfig
from meshconsole.core.config import EmconLevel

if TYPE_CHECKING:
    import argparse


def configure(_command: str, parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "level",
        nargs="?",
        choices=get_args(EmconLevel),
        metavar="LEVEL",
        help="open, quiet, receive-only or dark; without it: what it is",
    )
    parser.add_argument("--json", action="store_true", help="print the level as JSON")
    parser.set_defaults(run=emcon)


def emcon(parsed: argparse.Namespace) -> None:
    home = home_of(parsed.home)
    if parsed.level is not None:
        ask(home, SetConfig({"privacy": {"emcon": parsed.level}}))
    level = parsed.level or node_status(home).emcon
    if parsed.json:
        print_json({"emcon": level})
    else:
        meaning = next(words for name, _, words in LEVELS if name == level)
        say(f"Emission control is {level}: {meaning}.")
