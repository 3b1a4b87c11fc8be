"""Which home a command is about, and the passphrase that opens it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from meshconsole.core.errors import Fatal
from meshconsole.core.home import Home

if TYPE_CHECKING:
    import argparse

HOME_VARIABLE = "MESHCONSOLE_HOME"
SOCKET_VARIABLE = "MESHCONSOLE_SOCKET"
PASSPHRASE_VARIABLE = "MESHCONSOLE_PASSPHRASE"
MAX_PASSPHRASE_BYTES = 1024


def home_of(given: str | None) -> Home:
    """--home, else $MESHCONSOLE_HOME, else the platform's data folder. Absolute; need not exist.

    Without --home, $MESHCONSOLE_SOCKET means the node of another user that lets this one attach.
    """
    chosen = given or os.environ.get(HOME_VARIABLE)
    socket = "" if given else os.environ.get(SOCKET_VARIABLE, "")
    shared = Path(socket).absolute() if socket else None
    if chosen:
        return Home(Path(chosen).expanduser().absolute(), shared)
    from platformdirs import user_data_path

    return Home(user_data_path("meshconsole", appauthor=False), shared)


def command_line(command: str, home: Home) -> str:
    """`command` as it must be typed to mean this home, e.g. "meshconsole init --home field"."""
    return command if home == home_of(None) else f"{command} --home {quote(str(home.path))}"


def add_passphrase_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--passphrase-file",
        metavar="FILE",
        help=f"a file whose first line is the passphrase (or set {PASSPHRASE_VARIABLE}); never an argument",
    )


def given_passphrase(parsed: argparse.Namespace) -> str | None:
    """From --passphrase-file or the environment, None if neither was given. Raises Fatal."""
    if parsed.passphrase_file:
        return first_line(Path(parsed.passphrase_file))
    return os.environ.get(PASSPHRASE_VARIABLE) or None


def passphrase_for(home: Home, parsed: argparse.Namespace) -> str | None:
    """What opens this home: the given passphrase, else asked for. None: a key file or the service
    manager does, or nobody sits there."""
    passphrase = given_passphrase(parsed)
    if passphrase is not None:
        return passphrase
    if not home.keystore.exists() or home.unlock_key.exists() or os.environ.get("CREDENTIALS_DIRECTORY"):
        return None
    return ask_passphrase(f"Passphrase of {home.path}: ")


def ask_passphrase(question: str) -> str | None:
    """On the terminal, unseen; None without a terminal."""
    if not sys.stdin.isatty():
        return None
    from getpass import getpass

    try:
        return getpass(question)
    except EOFError:
        return None


def first_line(path: Path) -> str:
    """Of a file that holds a secret. Raises Fatal."""
    try:
        with path.open("rb") as file:
            line = file.readline(MAX_PASSPHRASE_BYTES + 2).rstrip(b"\r\n")
        passphrase = line.decode()
    except OSError as error:
        raise Fatal(f"The passphrase file {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise Fatal(f"The passphrase file {path} is not UTF-8 text.") from error
    if not passphrase:
        raise Fatal(f"The passphrase file {path} has an empty first line.")
    return passphrase
