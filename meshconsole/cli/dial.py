"""`meshconsole dial-stdio`: what SSH runs on the machine of a node, for a console on another machine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from meshconsole.cli.home import home_of

if TYPE_CHECKING:
    import argparse


def configure(_command: str, parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=dial)


def dial(parsed: argparse.Namespace) -> None:
    from meshconsole.control.bridge import pass_on

    pass_on(home_of(parsed.home).control_socket, sys.stdin.fileno(), sys.stdout.fileno())
