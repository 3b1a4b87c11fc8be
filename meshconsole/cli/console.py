"""The console: `meshconsole` alone starts what is missing and attaches; `attach` only attaches.

Without a terminal `meshconsole run` is a headless node. One that was never set up is then made with the
defaults, but listens on this machine only: nobody has agreed yet to offer anything to others.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from typing import TYPE_CHECKING

from meshconsole.cli.ask import ask, runs, why_unavailable
from meshconsole.cli.home import add_passphrase_file, command_line, given_passphrase, home_of, passphrase_for
from meshconsole.cli.hub import NO_PATHS, at_hub
from meshconsole.cli.init import default_name, make_home
from meshconsole.cli.node import add_settings, finish_owed_wipe
from meshconsole.cli.output import printable, say
from meshconsole.control.blocking import call
from meshconsole.core.errors import Fatal, MeshconsoleError, Unavailable
from meshconsole.core.home import Home
from meshconsole.core.setup import FirstRun

if TYPE_CHECKING:
    from meshconsole.console.run import ConsoleOptions

LOOPBACK_LISTEN = "127.0.0.1:7447"
NOT_HERE = "The node is elsewhere: scp the file, then 'meshconsole blobs' there."


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
    if command == "attach":
        parser.add_argument(
            "--through", metavar="COMMAND", help='a node elsewhere: "ssh hub meshconsole dial-stdio"'
        )
        # Started by `meshconsole web`, with pipes to a page instead of a terminal.
        parser.add_argument("--in-browser", action="store_true", help=argparse.SUPPRESS)
    if command == "run":
        add_settings(parser)
        add_passphrase_file(parser)


def run(parsed: argparse.Namespace) -> int:
    home = home_of(parsed.home)
    finish_owed_wipe(home)
    if not has_terminal():
        return headless(home, parsed)
    if not runs(home):
        _start(home, parsed)
    return _console(home, parsed)


def attach(parsed: argparse.Namespace) -> int:
    home = home_of(parsed.home)
    if not has_terminal() and not parsed.in_browser:
        raise Fatal("The console needs a terminal.", hint="In scripts use: meshconsole status --json")
    if parsed.through:
        return _through(home, parsed)
    if not runs(home):
        raise why_unavailable(home, Unavailable("No node runs in this home.", hint="Start it: meshconsole"))
    return _console(home, parsed)


def _through(home: Home, parsed: argparse.Namespace) -> int:
    """The console here, with this home's themes and keys, on a node that a command reaches."""
    from meshconsole.control.bridge import bridge
    from meshconsole.control.messages import GetStatus

    with bridge(shlex.split(parsed.through)) as reached:
        there = Home(home.path, reached.path)
        try:
            call(there.control_socket, GetStatus())
        except MeshconsoleError as error:
            raise Unavailable(
                f"{parsed.through} reached no node: {reached.last_words or error.sentence}",
                hint="Try it by hand. Where SSH asks for a passphrase, use ssh-agent.",
            ) from error
        return _console(there, parsed)


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


def _start(home: Home, parsed: argparse.Namespace) -> None:
    """Makes the home if there is none, starts the node, and joins the team that the owner has chosen."""
    from meshconsole.node.spawn import ensure_node

    settings = tuple(parsed.settings)
    if home.keystore.exists():
        ensure_node(home, passphrase_for(home, parsed) or None, settings)
        return
    first_run, passphrase = _first_run(home, parsed)
    say("Making this device's keys...")
    make_home(home, first_run, passphrase)
    say("Starting the node...")
    ensure_node(home, passphrase, settings)
    if first_run.team == "join":
        _join(home, first_run.invite)


def _first_run(home: Home, parsed: argparse.Namespace) -> tuple[FirstRun, str | None]:
    """The owner's answers and passphrase. Raises Fatal if the questions were left unanswered."""
    from meshconsole.console.run import run_first_run

    answers = run_first_run(
        options=_options(home, parsed), suggested_name=default_name(), check_invite=_what_is_wrong_with
    )
    if answers is None:
        raise Fatal("Nothing was made: the questions were left.", hint="Begin again whenever you like.")
    first_run, passphrase = answers
    return first_run, given_passphrase(parsed) or passphrase or None


def _what_is_wrong_with(invite: str) -> str:
    """ "" for an invite that can be read."""
    from meshconsole.team.invites import decode

    try:
        decode(invite)
    except MeshconsoleError as error:
        return str(error)
    return ""


def _join(home: Home, invite: str) -> None:
    """A failure is told and passed over: the node is there, and the console can use an invite too."""
    from meshconsole.control.team import JoinTeam

    say("Joining the team...")
    try:
        ask(home, JoinTeam(invite))
    except MeshconsoleError as error:
        say(f"Not joined: {error}")
        input("The node is ready all the same. Press Enter to go on. ")


def _console(home: Home, parsed: argparse.Namespace) -> int:
    from meshconsole.console.run import run_console

    return run_console(home.control_socket, options=_options(home, parsed))


def _give_back() -> None:
    """Some megabytes of programs that only the start has used."""
    import gc

    from meshconsole.node.memory import Surplus

    gc.collect()
    Surplus().give_back()


def _options(home: Home, parsed: argparse.Namespace) -> ConsoleOptions:
    from meshconsole.console.run import ConsoleOptions

    return ConsoleOptions(
        theme=parsed.theme,
        glyphs=parsed.glyphs,
        fps=parsed.fps,
        colour=parsed.colour,
        mouse=False if parsed.no_mouse else None,
        read_only=parsed.read_only,
        in_browser=getattr(parsed, "in_browser", False),
        no_paths=_why_no_paths(parsed),
        settled=_give_back,
        themes=home.themes,
        keys=home.keys,
    )


def _why_no_paths(parsed: argparse.Namespace) -> str:
    """ "" where a path that is typed here means the same file to the node."""
    if at_hub():
        return NO_PATHS
    return NOT_HERE if getattr(parsed, "through", None) else ""


def has_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _make_with_defaults(home: Home, passphrase: str | None) -> None:
    from meshconsole.core.config import Config, with_values

    name = default_name()
    config = with_values(Config(), {"node": {"name": name, "listen": LOOPBACK_LISTEN}}, "defaults")
    make_home(home, FirstRun(name=name, team="later", config=config), passphrase)
    made = f"Made a node with the defaults in {home.path}. It listens on this machine only; to serve others:"
    serve = command_line("meshconsole config set node.listen=:7447", home)
    print(printable(f"{made} {serve}"), file=sys.stderr)
