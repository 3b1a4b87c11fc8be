"""`meshconsole backup`: what must exist outside of this device, in forms that people can keep.

The identity as one text (and QR code) or as shares, a Nostr key for other programs, and the team's
epoch keys as an age file. docs/recovery.md is the drill.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from meshconsole.cli.ask import ask, how_to_make
from meshconsole.cli.home import add_passphrase_file, ask_passphrase, first_line, home_of, passphrase_for
from meshconsole.cli.output import say
from meshconsole.cli.recording import record
from meshconsole.core.errors import Fatal
from meshconsole.crypto.private_file import read_bounded

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from meshconsole.crypto.keystore import Secrets

WORDS_IN_A_ROW = 5
MAX_BACKUP_BYTES = 1 << 20
MAX_IDENTITY_BYTES = 64 * 1024


def configure(command: str, parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="WHAT", title="what to keep", required=True)

    def action(name: str, words: str, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=words)
        made.set_defaults(run=run)
        add_passphrase_file(made)
        from argparse import SUPPRESS

        made.add_argument("--home", default=SUPPRESS, help=SUPPRESS)
        return made

    for name, words, run in (
        ("seed", "the identity as one text and its QR code: whoever has it is this device", seed),
        ("nsec", "the Nostr secret key alone, for other Nostr programs", nsec),
    ):
        action(name, words, run).add_argument("--no-qr", action="store_true", help="the text only")

    shares_ = action("shares", "the identity in SLIP-39 shares, to give to several people", shares)
    shares_.add_argument("--need", type=int, default=3, metavar="N", help="so many restore it (default: 3)")
    shares_.add_argument("--of", type=int, default=5, metavar="N", help="so many are made (default: 5)")

    keys = action("keys", "the team's epoch keys as an age file; the node must run", epoch_keys)
    keys.add_argument("file", help="where to write it; it must not exist")
    keys.add_argument(
        "--to",
        action="append",
        default=[],
        metavar="age1...",
        help="for this age recipient (repeatable; not post-quantum) instead of a passphrase",
    )
    keys.add_argument(
        "--backup-passphrase-file",
        metavar="FILE",
        help="a file whose first line is the passphrase of the backup",
    )

    restoring = action("restore-keys", "take in epoch keys from an age file; the node must run", restore_keys)
    restoring.add_argument("file", help="an age file that `backup keys` made, as it is or made anew with age")
    restoring.add_argument("--identity", metavar="FILE", help="the age identity file that opens it")
    restoring.add_argument(
        "--backup-passphrase-file",
        metavar="FILE",
        help="a file whose first line is the passphrase of the backup",
    )


def seed(parsed: argparse.Namespace) -> None:
    from meshconsole.crypto.recovery import Recovered, to_text

    _print_code(to_text(Recovered.of(_secrets(parsed, "seed"))), qr=not parsed.no_qr)
    say("\nWhoever has this text is this device. On paper, in a safe; not as a photograph.")
    say("To restore it on a new device: meshconsole init --restore FILE (or - to type it)")


def nsec(parsed: argparse.Namespace) -> None:
    from meshconsole.crypto.identity import Identity
    from meshconsole.crypto.providers import default_provider
    from meshconsole.crypto.schnorr import nsec_to_bech32
    from meshconsole.crypto.suites import suite_by_id

    secrets = _secrets(parsed, "nsec")
    identity = Identity(secrets.seed, suite_by_id(secrets.suite), default_provider(), secrets.nsec)
    _print_code(nsec_to_bech32(identity.nsec), qr=not parsed.no_qr)
    say("\nWhoever has this key can write as you to any Nostr relay. It opens nothing of the team.")


def shares(parsed: argparse.Namespace) -> None:
    from meshconsole.crypto.recovery import Recovered, to_shares

    phrases = to_shares(Recovered.of(_secrets(parsed, "shares")), parsed.need, parsed.of)
    for number, phrase in enumerate(phrases, 1):
        words = phrase.split()
        say(f"share {number} of {parsed.of}; any {parsed.need} restore the identity")
        for at in range(0, len(words), WORDS_IN_A_ROW):
            row = words[at : at + WORDS_IN_A_ROW]
            say("  " + "  ".join(f"{at + place:2} {word:<9}" for place, word in enumerate(row, 1)).rstrip())
        say("")
    say("Give each share to somebody else. Fewer than needed say nothing about the identity.")
    say("To restore: meshconsole init --restore FILE, with one share on each line (words only).")


def epoch_keys(parsed: argparse.Namespace) -> None:
    from meshconsole.control.keys import ExportKeys

    path = str(Path(parsed.file).absolute())
    passphrase = "" if parsed.to else _backup_passphrase(parsed)
    command = ExportKeys(path, passphrase, tuple(parsed.to))
    say(ask(home_of(parsed.home), command).verdict.sentence)
    say(f"It opens with the age tool: age --decrypt {path}")


def restore_keys(parsed: argparse.Namespace) -> None:
    """The file is opened here: what a passphrase costs in memory is not the node's."""
    from meshconsole.control.keys import RestoreKeys
    from meshconsole.crypto.agefile import age_decrypt, needs_passphrase
    from meshconsole.team.export import MAX_LEN

    home = home_of(parsed.home)
    data = read_bounded(Path(parsed.file), MAX_BACKUP_BYTES)
    if needs_passphrase(data):
        given = _given_backup_passphrase(parsed) or ask_passphrase("Passphrase of the backup: ")
        if not given:
            raise _no_passphrase("restore-keys")
        document = age_decrypt(data, passphrase=given)
    elif parsed.identity:
        document = age_decrypt(data, identities=_identities(Path(parsed.identity)))
    else:
        raise Fatal("The file is for an age identity.", hint="Name its file with --identity.")
    if len(document) > MAX_LEN:
        raise Fatal(f"{parsed.file} is no backup of epoch keys: it is too long.")
    say(ask(home, RestoreKeys(document)).verdict.sentence)


def _identities(path: Path) -> list[str]:
    """As age-keygen writes them: one on each line, comments beside them."""
    lines = read_bounded(path, MAX_IDENTITY_BYTES).decode("utf-8", "replace").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _backup_passphrase(parsed: argparse.Namespace) -> str:
    if given := _given_backup_passphrase(parsed):
        return given
    while True:
        first = ask_passphrase("Passphrase for the backup: ")
        if not first:
            raise _no_passphrase("keys")
        if first == ask_passphrase("Once more: "):
            return first
        say("The two differ. Again, please.")


def _given_backup_passphrase(parsed: argparse.Namespace) -> str:
    return first_line(Path(parsed.backup_passphrase_file)) if parsed.backup_passphrase_file else ""


def _no_passphrase(action: str) -> Fatal:
    hint = f"See: meshconsole backup {action} --help"
    return Fatal("No passphrase was given for the backup.", hint=hint, exit_code=4)


def _secrets(parsed: argparse.Namespace, form: str) -> Secrets:
    """Written to the audit log before anything is shown. Asks for the passphrase even while a node runs:
    a console left open must not give the identity away."""
    home = home_of(parsed.home)
    if not home.keystore.exists():
        raise Fatal(f"There is no node in {home.path}.", hint=how_to_make(home))
    from meshconsole.node.opening import open_keystore

    secrets = open_keystore(home, passphrase_for(home, parsed))
    if secrets is None:
        raise Fatal(
            "The keystore needs its passphrase.", hint="Use a terminal, or --passphrase-file.", exit_code=4
        )
    record(home, secrets, "identity-exported", form)
    return secrets


def _print_code(text: str, *, qr: bool) -> None:
    if qr:
        from meshconsole.cli.qr import qr_lines

        print("\n".join(qr_lines(text.upper())), end="\n\n")
    say(text)
