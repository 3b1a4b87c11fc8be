"""`meshconsole team fingerprint`: two people make sure that they mean the same keys.

Each shows theirs and checks the other's: read out in groups or words, or scanned. What counts is the
fingerprint alone: a name is only what somebody calls a device.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from meshconsole.cli.home import home_of
from meshconsole.cli.output import print_json, say
from meshconsole.cli.reading import node_status
from meshconsole.control.members import find_member
from meshconsole.core.errors import Fatal, Refused
from meshconsole.core.status import MemberStatus

if TYPE_CHECKING:
    import argparse

WORDS_IN_A_ROW = 4
MAX_TYPED_CHARS = 512


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("member", nargs="?", help="name, or the beginning of the key (default: this device)")
    parser.add_argument(
        "--compare",
        metavar="TEXT",
        help="what the other person's device shows: groups, words or the scanned code; - reads it from input",
    )
    parser.add_argument("--no-qr", action="store_true", help="no QR code")
    parser.set_defaults(run=fingerprint)


def fingerprint(parsed: argparse.Namespace) -> int:
    """1 if the compared fingerprint is another one."""
    status = node_status(home_of(parsed.home))
    members = status.team.members if status.team else ()
    if parsed.compare is not None:
        return _compare(members, parsed)
    if parsed.member:
        shown = find_member(members, parsed.member)
    else:
        # Without a team too: whoever is to let it in compares it before.
        own = MemberStatus(status.npub, status.name, "in no team", status.fingerprint, me=True)
        shown = next((member for member in members if member.me), own)
    _show(shown, parsed)
    return 0


def _show(member: MemberStatus, parsed: argparse.Namespace) -> None:
    from meshconsole.crypto.fingerprints import in_code, in_words, read_fingerprint
    from meshconsole.crypto.schnorr import npub_to_bech32

    bits = read_fingerprint(member.fingerprint)
    words, code = in_words(bits), in_code(bits)
    if parsed.json:
        forms = {"npub": member.npub, "groups": member.fingerprint, "words": words, "code": code}
        print_json({"name": member.name, **forms})
        return
    say(f"{member.name}{' (this device)' if member.me else ''}, {member.role}")
    say(f"key          {npub_to_bech32(member.npub)}")
    say(f"fingerprint  {member.fingerprint}")
    for at in range(0, len(words), WORDS_IN_A_ROW):
        say(f"{'' if at else 'in words':13}{'  '.join(words[at : at + WORDS_IN_A_ROW])}")
    if not parsed.no_qr:
        from meshconsole.cli.qr import qr_lines

        print("\n" + "\n".join(qr_lines(code.upper())), end="\n\n")
    say(code)
    if sys.stdout.isatty():
        say("\nThe other person compares it with what their device shows for this one, and you the other way")
        say("round: meshconsole team fingerprint --compare TEXT")


def _compare(members: tuple[MemberStatus, ...], parsed: argparse.Namespace) -> int:
    from meshconsole.crypto.fingerprints import read_fingerprint

    text = sys.stdin.readline(MAX_TYPED_CHARS) if parsed.compare == "-" else parsed.compare
    try:
        given = read_fingerprint(text)
    except Refused as error:
        raise Fatal(error.sentence, hint="Nothing was compared.", exit_code=2) from None
    found = [member for member in members if read_fingerprint(member.fingerprint) == given]
    if parsed.member:
        wanted = find_member(members, parsed.member)
        if wanted in found:
            say(f"The same. These are the keys that the team knows as {wanted.name}.")
            return 0
        say(f"NOT THE SAME. The team knows {wanted.name} as {wanted.fingerprint}.")
    elif found:
        say(f"These are the keys that the team knows as {found[0].name}, {found[0].role}.")
        return 0
    if found:
        say(f"It is the fingerprint of {found[0].name}.")
    else:
        say("NO DEVICE OF THE TEAM has this fingerprint. Send nothing that matters before you know why.")
    return 1
