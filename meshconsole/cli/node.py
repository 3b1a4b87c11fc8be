"""The node itself: run it in the foreground, stop it."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from meshconsole.cli.ask import ask, how_to_make, runs
from meshconsole.cli.home import add_passphrase_file, home_of, passphrase_for
from meshconsole.cli.output import say
from meshconsole.control.messages import Stop
from meshconsole.core.errors import Fatal, Unavailable
from meshconsole.core.home import Home

if TYPE_CHECKING:
    import argparse

STOP_TIMEOUT_S = 30.0
POLL_S = 0.05


def configure(command: str, parser: argparse.ArgumentParser) -> None:
    if command == "stop":
        parser.set_defaults(run=stop)
        return
    parser.set_defaults(run=node)
    parser.add_argument("--listen", metavar="HOST:PORT", help="for this run; port 0 takes a free one")
    add_settings(parser)
    add_passphrase_file(parser)
    parser.add_argument("--key-file", metavar="FILE", help="what opens the home, for example on a USB stick")
    parser.add_argument(
        "--invite-file",
        metavar="FILE",
        help="join with the invite in it, as soon as that works; then wipe it",
    )
    parser.add_argument(
        "--ready-fd", type=int, metavar="FD", help="gets one line, 'ready ADDRESS', once serving"
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        dest="settings",
        help="a setting for this run (repeatable)",
    )


def node(parsed: argparse.Namespace) -> int:
    """Without its passphrase it starts locked, and waits for `meshconsole unlock`."""
    home = Home(home_of(parsed.home).path)
    finish_owed_wipe(home)
    if not home.keystore.exists():
        raise Fatal(f"There is no node in {home.path}.", hint=how_to_make(home))
    from meshconsole.node.run import run_node

    keyfile = Path(parsed.key_file).absolute() if parsed.key_file else None
    return run_node(
        home,
        passphrase=(None if keyfile else passphrase_for(home, parsed)) or None,
        settings=parsed.settings,
        listen=parsed.listen,
        ready_fd=parsed.ready_fd,
        keyfile=keyfile,
        invite_file=Path(parsed.invite_file).absolute() if parsed.invite_file else None,
    )


def finish_owed_wipe(home: Home) -> None:
    """A wipe that was cut off goes on before anything else happens in this home. Raises Fatal then."""
    if home.wipe_order.exists():
        from meshconsole.node.run import go_on_with_wipe

        go_on_with_wipe(home)


def stop(parsed: argparse.Namespace) -> None:
    """Returns when the node is gone, so that the home can be moved or the port used."""
    home = home_of(parsed.home)
    ask(home, Stop())
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while runs(home) or is_locked_by_a_node(home):
        if time.monotonic() > deadline:
            raise Unavailable("The node has not stopped yet.", hint=f"Look at its log: {home.log}")
        time.sleep(POLL_S)
    if sys.stdout.isatty():
        say("Stopped.")


def is_locked_by_a_node(home: Home) -> bool:
    """True while the node's process holds its home (node/lock.py), which it lets go of last."""
    try:
        with home.lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def kill_node(home: Home) -> None:
    """What it holds in memory is gone on return, or will not be used again."""
    if is_locked_by_a_node(home):
        with suppress(OSError, ValueError):
            os.kill(int(home.lock.read_text()), signal.SIGKILL)
