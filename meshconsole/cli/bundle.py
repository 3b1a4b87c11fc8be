"""Bundles that a courier carries between sites: say what is here, pack, take, read a receipt."""

from __future__ import annotations

from argparse import SUPPRESS
from pathlib import Path
from typing import TYPE_CHECKING

from meshconsole.cli.ask import ask
from meshconsole.cli.home import home_of
from meshconsole.cli.output import print_json, printable, say
from meshconsole.console.words import moment_in_words
from meshconsole.control.files import PackBundle, TakeBundle, WriteHave
from meshconsole.control.messages import CountsData
from meshconsole.core.errors import Fatal

if TYPE_CHECKING:
    import argparse

    from meshconsole.control.messages import Reply

MEGABYTE = 1_000_000
MIN_SPLIT_MB = 4
MAX_RECEIPT_BYTES = 1 << 20


def configure(command: str, parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print what was counted as JSON")
    actions = parser.add_subparsers(metavar="ACTION", title="actions", required=True)
    have = actions.add_parser("have", help="write what this site has, for those who pack for it")
    have.add_argument("file", help="a file that does not exist yet")
    packing = actions.add_parser("pack", help="pack events and files, sealed, into a folder")
    packing.add_argument("folder", help="on the stick; the same command goes on where it was broken off")
    packing.add_argument("--for", dest="have", metavar="FILE", default="", help="what the other site has")
    packing.add_argument("--split", type=int, default=0, metavar="MB", help="in parts of at most so much")
    taking = actions.add_parser("take", help="take a bundle in, and write a receipt for the courier")
    taking.add_argument("paths", nargs="+", metavar="PATH", help="a folder, or single parts of a bundle")
    receipt = actions.add_parser("receipt", help="read a courier's receipt and check its signature")
    receipt.add_argument("file")
    for action, run in {have: write_have, packing: pack, taking: take, receipt: read_receipt}.items():
        action.set_defaults(run=run)
        # SUPPRESS: what stands before the action must survive the action's own default.
        action.add_argument("--json", action="store_true", default=SUPPRESS, help=SUPPRESS)
        action.add_argument("--home", default=SUPPRESS, help=SUPPRESS)


def write_have(parsed: argparse.Namespace) -> int:
    return _tell(parsed, ask(home_of(parsed.home), WriteHave(str(Path(parsed.file).absolute()))))


def pack(parsed: argparse.Namespace) -> int:
    folder = Path(parsed.folder).absolute()
    if not folder.is_dir():
        raise Fatal(f"{parsed.folder} is not a folder.", hint="Make it first.")
    if parsed.split and parsed.split < MIN_SPLIT_MB:
        raise Fatal(f"A part has at least {MIN_SPLIT_MB} MB, so that any block fits into it.", exit_code=2)
    have = str(Path(parsed.have).absolute()) if parsed.have else ""
    command = PackBundle(str(folder), have, parsed.split * MEGABYTE)
    return _tell(parsed, ask(home_of(parsed.home), command))


def take(parsed: argparse.Namespace) -> int:
    paths = tuple(str(Path(path).absolute()) for path in parsed.paths)
    return _tell(parsed, ask(home_of(parsed.home), TakeBundle(paths)))


def read_receipt(parsed: argparse.Namespace) -> int:
    """Needs no node: a receipt proves itself. Exit code 1 where it does not."""
    import msgspec

    from meshconsole.core.event import decode_event
    from meshconsole.core.kinds import COURIER_RECEIPT
    from meshconsole.crypto.schnorr import verify_event

    try:
        with Path(parsed.file).open("rb") as file:
            event = decode_event(file.read(MAX_RECEIPT_BYTES))
        content = msgspec.json.decode(event.content, type=dict[str, object])
    except OSError as error:
        raise Fatal(f"Cannot read {parsed.file}: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeError):
        raise Fatal(f"{parsed.file} is not a receipt.") from None
    if event.kind != COURIER_RECEIPT or not verify_event(event):
        raise Fatal(f"{parsed.file} is not a receipt, or was changed: its signature is wrong.")
    if parsed.json:
        print_json({"npub": event.pubkey, "at": event.created_at, **content})
        return 0
    say(f"Taken by {event.pubkey} at {moment_in_words(event.created_at)}.")
    counts, parts = content.get("counts"), content.get("parts")
    for name, count in (counts if isinstance(counts, dict) else {}).items():
        say(f"{printable(str(name))}: {printable(str(count))}")
    for part in parts if isinstance(parts, list) else []:
        say(f"part {printable(str(part))}")
    return 0


def _tell(parsed: argparse.Namespace, reply: Reply) -> int:
    """Exit code 1 where something was damaged or refused."""
    counts = reply.data.counts if isinstance(reply.data, CountsData) else {}
    if parsed.json:
        print_json(counts)
    else:
        for name, count in counts.items():
            say(f"{printable(name)}: {count}")
        if reply.verdict.sentence:
            say(reply.verdict.sentence)
    return 1 if any(name.startswith(("damaged", "events refused")) for name in counts) else 0
