"""The console: `meshconsole` alone starts what is missing and attaches; `attach` only attaches.

Without a terminal `meshconsole run` is a headless node. One that was never set up is then made with the
defaults, but listens on this machine only: nobody has agreed yet to offer anything to others.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from meshconsole.cli.ask import runs, why_unavailable
from meshconsole.cli.home import add_passphrase_file, given_passphrase, home_of, passphrase_for
from meshconsole.cli.node import add_settings
from meshconsole.cli.output import say
from meshconsole.core.errors import Fatal, Unavailable

if TYPE_CHECKING:
    import argparse

    from meshconsole.core.home import Home

LOOPBACK_LISTEN = "127.0.0.1:7447"


def configure(command: str, parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=attach if command == "attach" else run)
    parser.add_argument("--theme", metavar="NAME", help="this console's colours")
    parser.add_argument(
        "--glyphs", choices=("auto", "unicode", "console", "ascii"), help="this console's signs"
    )
    parser.add_argument("--colour", choices=("true", "256", "16", "mono"), help="how many the terminal has")
    parser.add_argument("--no-mouse", action="store_true", help="leave the mouse to the terminal")
    parser.add_argument("--fps", type=float, metavar="N", help="at most N frames a second (0.1 to 10)")
    parser.add_argument("--read-only", action="store_true", help="look, but change nothing")
    if command == "run":
        add_settings(parser)
        add_passphrase_file(parser)


def run(parsed: argparse.Namespace) -> int:
    home = home_of(parsed.home)
    if not has_terminal():
        return headless(home, parsed)
    if not runs(home):
        if not home.keystore.exists():
            _first_run(home, parsed)
        from meshconsole.node.spawn import ensure_node

        ensure_node(home, passphrase_for(home, parsed), tuple(parsed.settings))
    return _console(home, parsed)


def attach(parsed: argparse.Namespace) -> int:
    home = home_of(parsed.home)
    if not has_terminal():
        raise Fatal("The console needs a terminal.", hint="In scripts use: meshconsole status --json")
    if not runs(home):
        raise why_unavailable(home, Unavailable("No node runs in this home.", hint="Start it: meshconsole"))
    return _console(home, parsed)


def headless(home: Home, parsed: argparse.Namespace) -> int:
    """A node in the foreground. Its output is one line, "ready ADDRESS"; its log goes to standard error."""
    passphrase = given_passphrase(parsed)
    if not home.keystore.exists():
        _make_with_defaults(home, passphrase)
    from meshconsole.node.run import run_node

    return run_node(
        home,
        passphrase=passphrase,
        settings=parsed.settings,
        ready_fd=os.dup(sys.stdout.fileno()),
    )


def _first_run(home: Home, parsed: argparse.Namespace) -> None:
    from meshconsole.cli.init import make_home
    from meshconsole.console.app import ask_first_run

    answers = ask_first_run()
    if answers is None:
        raise Fatal("Nothing was made: the questions were left unanswered.", exit_code=1)
    first_run, passphrase = answers
    make_home(home, first_run, given_passphrase(parsed) or passphrase)


def _console(home: Home, parsed: argparse.Namespace) -> int:
    from meshconsole.console.run import ConsoleOptions, run_console

    options = ConsoleOptions(
        theme=parsed.theme,
        glyphs=parsed.glyphs,
        fps=parsed.fps,
        colour=parsed.colour,
        mouse=False if parsed.no_mouse else None,
        read_only=parsed.read_only,
        themes=home.themes,
    )
    return run_console(home.control_socket, options=options)


def has_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _make_with_defaults(home: Home, passphrase: str | None) -> None:
    from meshconsole.cli.init import default_name, make_home
    from meshconsole.core.config import Config, with_values
    from meshconsole.core.setup import FirstRun

    name = default_name()
    config = with_values(Config(), {"node": {"name": name, "listen": LOOPBACK_LISTEN}}, "defaults")
    make_home(home, FirstRun(name=name, team="later", config=config), passphrase)
    say(f"Made a node with the defaults in {home.path}. It listens on this machine only;")
    say("to serve others: meshconsole config set node.listen=0.0.0.0:7447")
