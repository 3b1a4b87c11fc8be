"""The `meshconsole` command: finds the command's module, loads only that, and turns errors into sentences.

Law: nothing that a user can do here ends in a traceback. An error of ours is printed as one sentence
with its hint; anything else is a bug, whose details go to a file that the sentence names.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol, TextIO, cast

from meshconsole.cli.hub import at_hub, check_at_hub
from meshconsole.core.errors import (
    Fatal,
    KeystoreWiped,
    LocalError,
    MeshconsoleError,
    Refused,
    RemoteError,
    Unavailable,
    WipeIncomplete,
)
from meshconsole.node.collecting import collect_rarely

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_USAGE = 2
EXIT_REFUSED = 5
EXIT_UNAVAILABLE = 69
EXIT_BUG = 70
EXIT_PROTOCOL = 76
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


class Group(Protocol):
    """What a command group's module offers."""

    def configure(self, command: str, parser: argparse.ArgumentParser) -> None:
        """Adds the command's arguments and sets the default `run`, a function of the parsed arguments."""


class Command(NamedTuple):
    group: str
    summary: str


COMMANDS = {
    "run": Command("console", "the console, or without a terminal a headless node (the default)"),
    "init": Command("init", "make this device's home: keys, configuration and perhaps a team"),
    "node": Command("node", "a headless node in the foreground"),
    "attach": Command("console", "the console on a node that already runs"),
    "web": Command("web", "the console in a browser on this machine (an extra: meshconsole[web])"),
    "dial-stdio": Command("dial", "join standard input and output to the node, for a console elsewhere"),
    "stop": Command("node", "stop the node in good order"),
    "status": Command("reading", "the node at a glance"),
    "peers": Command("reading", "who is here, over which path"),
    "ping": Command("reach", "how far a device is, and by which path"),
    "trace": Command("reach", "the devices on the way to another one"),
    "why": Command("reach", "why a device is not here, with the proven cause"),
    "netcheck": Command("reach", "what this machine's network carries: multicast, ports, servers, clock"),
    "events": Command("reading", "notes and records, newest last"),
    "map": Command("reading", "who hears whom in the team, as far as this node knows"),
    "history": Command("history", "rates, storage and round trips of the last hours, as lines"),
    "storage": Command("storage", "how much space is used, by what, and how long it lasts"),
    "limits": Command("reading", "what is used and what is allowed"),
    "notices": Command("notices", "what is wrong with the node, and what to do"),
    "audit": Command("audit", "what was done to this node: show, verify, export, merge"),
    "blobs": Command("blobs", "the team's files: list, add, get, keep; fetches in the background; scrub"),
    "edge": Command("edge", "files for other programs over HTTP: who may pin here, and what is pinned"),
    "bundle": Command("bundle", "events and files for a courier: have, pack, take, receipt"),
    "send": Command("notes", "send a note to the team, or a message to one device of it"),
    "receipts": Command("receipts", "who has the notes sent from here; tell an author that a note was read"),
    "rollcall": Command("rollcall", "ask the team how everybody is, answer, see who has answered"),
    "emcon": Command("emcon", "emission control: open, quiet, receive-only, dark"),
    "import": Command("notes", "take over events from a JSONL file"),
    "export": Command("notes", "write events to a JSONL file"),
    "relay": Command(
        "relay",
        "who uses the relay, who is kept out; scan, export, import, delete, evict, backup, vacuum",
    ),
    "unlock": Command("keys", "open the home of a node that was started without its passphrase"),
    "passphrase": Command("keys", "change what opens this home: passphrase, duress, key file"),
    "backup": Command("backup", "the identity as text, QR code or shares; the team's keys as an age file"),
    "panic": Command("keys", "destroy the keys of this home, then everything in it"),
    "team": Command("team", "members, invites, roles, rules, plain clients, the root key"),
    "guest": Command("guests", "browsers let in for a time, over a data channel: open, admit, say, remove"),
    "config": Command("config", "show, check or set the configuration"),
    "doctor": Command("doctor", "what works here, what does not, and what to do"),
}

DEFAULT_COMMAND = "run"

EXAMPLES = """\
first steps:
  meshconsole                        the console; asks a few questions on the first start
  meshconsole init --yes --name alpha --team Falcon
  meshconsole team invite            prints an invite and its QR code
  meshconsole team join INVITE       on the other device

`meshconsole COMMAND --help` explains each command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code. 0 done, 1 failed, 2 wrong usage or configuration, 5 refused, 69 not available now."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    home: str | None = None
    collect_rarely()
    try:
        parsed = _parse(given)
        home = parsed.home
        code = int(parsed.run(parsed) or 0)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _silence(sys.stdout)
        return EXIT_BROKEN_PIPE
    except KeystoreWiped as error:
        _end_node_of(home)
        return _explain(error)
    except MeshconsoleError as error:
        return _explain(error)
    except Exception as error:
        return _confess(error, home)


def _parse(given: list[str]) -> argparse.Namespace:
    """Reads the command's name first, so that only its own module is loaded."""
    top = Parser(
        prog="meshconsole",
        description="A terminal mesh console for teams who work together without internet.",
        usage="meshconsole [--home FOLDER] [COMMAND ...]",
        epilog=_list_of_commands() + "\n\n" + EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_home(top)
    top.add_argument("--version", action="version", version=f"meshconsole {_version()}")
    before, name, after = _split(given)
    first = top.parse_args(before)
    if name not in COMMANDS:
        top.error(f"there is no command {name!r}{_closest(name)}")
    command = COMMANDS[name]
    parser = Parser(prog=f"meshconsole {name}", description=_sentence(command.summary))
    _add_home(parser)
    group = cast("Group", import_module(f"meshconsole.cli.{command.group}"))
    group.configure(name, parser)
    parsed = parser.parse_args(after)
    parsed.home = parsed.home or first.home
    if at_hub():
        check_at_hub(name, parsed)
    return parsed


def _split(given: list[str]) -> tuple[list[str], str, list[str]]:
    """What stands before the command's name, the name, and what follows it.

    An option that only a command can have, where a name is expected, is one of the default command.
    """
    at = 0
    while at < len(given):
        word = given[at]
        if not word.startswith("-"):
            return given[:at], word, given[at + 1 :]
        if word.partition("=")[0] not in ("-h", "--help", "--version", "--home"):
            return given[:at], DEFAULT_COMMAND, given[at:]
        at += 2 if word == "--home" else 1
    return given, DEFAULT_COMMAND, []


class Parser(argparse.ArgumentParser):
    """Errors in our form: one sentence, then where help is. Actions below a command have this class too.

    An option has one spelling: what filters a command line (deploy/ssh/hub) and a script that is older than
    the next option must not meet another one.
    """

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - argparse's own, which are many
        super().__init__(**{"allow_abbrev": False, **settings})

    def error(self, message: str) -> NoReturn:
        sentence = message if message.endswith("?") else f"{message}."
        print(f"meshconsole: {sentence} Try '{self.prog} --help'.", file=sys.stderr)
        raise SystemExit(EXIT_USAGE)


def _add_home(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--home", metavar="FOLDER", help="the node's home (default: $MESHCONSOLE_HOME, else the data folder)"
    )


def _list_of_commands() -> str:
    width = max(map(len, COMMANDS))
    return "commands:\n" + "\n".join(f"  {name:{width}}  {entry.summary}" for name, entry in COMMANDS.items())


def _sentence(summary: str) -> str:
    return summary[0].upper() + summary[1:] + "."


def _closest(word: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(word, COMMANDS, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _version() -> str:
    from meshconsole import __version__

    return __version__


def _explain(error: MeshconsoleError) -> int:
    """Prints the error as the user should read it. Returns the exit code."""
    from meshconsole.cli.output import printable

    _flush_quietly()
    words = f"meshconsole: {printable(str(error))}"
    alarming = isinstance(error, WipeIncomplete) and sys.stderr.isatty() and "NO_COLOR" not in os.environ
    print(f"\033[1;31m{words}\033[0m" if alarming else words, file=sys.stderr)
    match error:
        case Fatal(exit_code=code):
            return code
        case Refused():
            return EXIT_REFUSED
        case Unavailable():
            return EXIT_UNAVAILABLE
        case RemoteError():
            return EXIT_PROTOCOL
        case LocalError():
            return EXIT_BUG
        case _:
            return 1


def _end_node_of(home: str | None) -> None:
    """A node that runs still holds the keys that the duress passphrase has just destroyed. At once, not
    in good order: whoever watches must not be kept waiting longer than by a mistake."""
    from meshconsole.cli.home import home_of
    from meshconsole.cli.node import kill_node

    kill_node(home_of(home))


def _confess(error: Exception, home: str | None) -> int:
    """A bug of ours: the details go to a file, one sentence to the user."""
    from meshconsole.cli.bugs import write_details

    _flush_quietly()
    place = write_details(error, home)
    print(
        f"meshconsole: This should not have happened ({type(error).__name__}). "
        f"The details are in {place}; please send them with what you did.",
        file=sys.stderr,
    )
    return EXIT_BUG


def _flush_quietly() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _silence(sys.stdout)


def _silence(stream: TextIO) -> None:
    """Points a broken stream at nothing, so that the interpreter's own last flush stays quiet."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
