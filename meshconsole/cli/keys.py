"""What opens a home, and what destroys it: unlock, passphrase, panic.

unlock and passphrase never change a key; `team rotate` does. panic needs no passphrase and no node.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from meshconsole.cli.ask import ask, how_to_make, runs
from meshconsole.cli.home import (
    add_passphrase_file,
    ask_passphrase,
    command_line,
    first_line,
    given_passphrase,
    home_of,
)
from meshconsole.cli.node import is_locked_by_a_node, kill_node
from meshconsole.cli.output import say
from meshconsole.cli.recording import record
from meshconsole.control.keys import Panic, Unlock
from meshconsole.control.messages import GetStatus
from meshconsole.core.errors import Fatal, MeshconsoleError, Refused

if TYPE_CHECKING:
    import argparse

    from meshconsole.core.home import Home

NODE_END_S = 10.0
"""How long a node may take to let go of a home that is being destroyed; then it is killed."""
POLL_S = 0.05
CONFIRMATION = "destroy"


def configure(command: str, parser: argparse.ArgumentParser) -> None:
    if command == "panic":
        parser.add_argument("--yes", action="store_true", help="ask nothing: destroy at once")
        parser.set_defaults(run=panic)
        return
    add_passphrase_file(parser)
    if command == "unlock":
        parser.set_defaults(run=unlock)
        return
    parser.add_argument(
        "--new-passphrase-file", metavar="FILE", help="a file whose first line is the new (or duress) one"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--duress",
        action="store_true",
        help="set the passphrase that destroys the keys instead of opening them (empty: none)",
    )
    which.add_argument(
        "--key-file", metavar="FILE", help="let this file open the home too; it is made if it is missing"
    )
    which.add_argument(
        "--no-key-file", action="store_true", help="let no file open the home; deletes the one in it"
    )
    parser.set_defaults(run=passphrase)


def unlock(parsed: argparse.Namespace) -> None:
    """Opens the home of a node that was started without its passphrase, for example over SSH."""
    home = home_of(parsed.home)
    if is_open(home):
        say("It is open already.")
        return
    given = given_passphrase(parsed) or ask_passphrase(f"Passphrase of {home.path}: ")
    if not given:
        raise Fatal("No passphrase was given.", hint="Use a terminal, or --passphrase-file.", exit_code=4)
    say(ask(home, Unlock(given)).verdict.sentence)


def is_open(home: Home) -> bool:
    """Raises Unavailable when no node runs."""
    try:
        ask(home, GetStatus())
    except Refused as error:
        if error.code == "auth-required":
            return False
        raise
    return True


def passphrase(parsed: argparse.Namespace) -> None:
    """Works on the keystore's file, whether a node runs or not."""
    home = home_of(parsed.home)
    if not home.keystore.exists():
        raise Fatal(f"There is no node in {home.path}.", hint=how_to_make(home))
    if parsed.duress:
        _set_duress(home, parsed)
    elif parsed.key_file:
        _set_key_file(home, parsed, Path(parsed.key_file).absolute())
    elif parsed.no_key_file:
        _set_key_file(home, parsed, None)
    else:
        _change(home, parsed)


def _change(home: Home, parsed: argparse.Namespace) -> None:
    from meshconsole.crypto.keystore import Keystore

    present = given_passphrase(parsed)
    keyfile = home.unlock_key if present is None and home.unlock_key.exists() else None
    if keyfile is None:
        present = present or _asked("Present passphrase: ")
    secrets = Keystore.unlock(home.keystore, None if keyfile else present, keyfile)
    new = _new(parsed, "New passphrase: ")
    if not new:
        raise Fatal("Nothing was changed: the new passphrase is empty.")
    record(home, secrets, "keystore-changed", "passphrase")
    Keystore.change_passphrase(home.keystore, present, new, keyfile=keyfile)
    say("The passphrase is changed. No key is: copies of this home that were made before still open with")
    say("the old one. If somebody may have both, turn the team's key as well: meshconsole team rotate")
    if keyfile is not None:
        shut = command_line("meshconsole passphrase --no-key-file", home)
        say(f"The key file in the home still opens it without a passphrase; to end that: {shut}")


def _set_duress(home: Home, parsed: argparse.Namespace) -> None:
    from meshconsole.crypto.keystore import Keystore

    present = _present(parsed)
    secrets = Keystore.unlock(home.keystore, present)
    duress = _new(parsed, "Duress passphrase (nothing for none): ")
    # Not by its name: whoever reads the log under duress must not learn that there is such a passphrase.
    record(home, secrets, "keystore-changed", "passphrase")
    Keystore.set_duress(home.keystore, present, duress or None)
    if duress:
        say("Whoever gives the duress passphrase is told that it is wrong, and the keys are destroyed.")
        say("There is no way back but a backup.")
    else:
        say("There is no duress passphrase now. The keystore does not show whether there is one.")


def _set_key_file(home: Home, parsed: argparse.Namespace, keyfile: Path | None) -> None:
    from meshconsole.crypto.keystore import Keystore
    from meshconsole.crypto.private_file import overwrite

    present = _present(parsed)
    record(home, Keystore.unlock(home.keystore, present), "keystore-changed", "key file")
    Keystore.set_keyfile(home.keystore, present, keyfile)
    if keyfile is not None:
        say(f"{keyfile} opens this home now: meshconsole node --key-file {keyfile}")
        say("Keep it apart from this device: together they are all that is needed.")
        return
    if home.unlock_key.exists():
        overwrite(home.unlock_key, os.urandom(64))
        home.unlock_key.unlink()
    say("Only the passphrase opens this home now.")


def _present(parsed: argparse.Namespace) -> str:
    return given_passphrase(parsed) or _asked("Present passphrase: ")


def _asked(question: str) -> str:
    given = ask_passphrase(question)
    if given is None:
        raise Fatal(
            "No passphrase was given.", hint="Use a terminal, or the files named by --help.", exit_code=4
        )
    return given


def _new(parsed: argparse.Namespace, question: str) -> str:
    if parsed.new_passphrase_file:
        return first_line(Path(parsed.new_passphrase_file))
    while True:
        first = _asked(question)
        if not first or first == _asked("Once more: "):
            return first
        say("The two differ. Again, please.")


# --- panic ----------------------------------------------------------------------------------------


def panic(parsed: argparse.Namespace) -> None:
    """First what opens the home, here and now; then the node is made to let go; then every file."""
    from meshconsole.node.lock import HomeLock
    from meshconsole.node.wipe import destroy_keys, finish_wipe, wipe_is_owed

    home = home_of(parsed.home)
    if not home.keystore.exists() and not wipe_is_owed(home):
        raise Fatal(f"There is no node in {home.path}.", hint="Name the home to destroy with --home.")
    if not parsed.yes:
        _confirm(home)
    destroy_keys(home)
    _end_node(home)
    with HomeLock(home):
        finish_wipe(home)
    say(f"Destroyed. {home.path} is empty.")
    say("Now have this device removed from its team, on an admin's device: meshconsole team remove NAME")
    say("Out of reach: backups, files that were exported, key files elsewhere, what a flash disk keeps.")


def _confirm(home: Home) -> None:
    if not sys.stdin.isatty():
        raise Fatal("panic destroys this home for good.", hint="Add --yes if that is what you want.")
    say(f"This destroys the keys of {home.path} and then everything in it: notes, files, the identity.")
    say("There is no way back but a backup.")
    if input(f"Type {CONFIRMATION} to go on: ").strip() != CONFIRMATION:
        raise Fatal("Nothing was destroyed.")


def _end_node(home: Home) -> None:
    """Returns when no node holds the home. One that does not answer, or stays for all that, is killed: its
    keys are in memory."""
    if not is_locked_by_a_node(home):
        return
    answered = False
    with suppress(MeshconsoleError):
        answered = runs(home) and ask(home, Panic()).accepted
    if not (answered and _let_go(home)):
        kill_node(home)
        _let_go(home)


def _let_go(home: Home) -> bool:
    """Waits a while for the node's process to end; False if it did not."""
    deadline = time.monotonic() + NODE_END_S
    while is_locked_by_a_node(home):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True
