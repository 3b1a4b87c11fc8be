"""Notes and bundles: send, import, export."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from meshconsole.cli import filters
from meshconsole.cli.ask import ask, ask_for
from meshconsole.cli.home import home_of
from meshconsole.cli.output import print_json, say
from meshconsole.control.messages import CountsData, EventsData
from meshconsole.control.notes import SendDirect, SendNote, SendPlain
from meshconsole.control.relay import Export, Import, ImportLines
from meshconsole.core.errors import Fatal, Refused
from meshconsole.core.lines import LONGEST_LINE, TOO_LONG, Lines
from meshconsole.core.precedence import PrecedenceName

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from meshconsole.core.home import Home

MAX_NOTE_BYTES = 65_536
PIECE_BYTES = 128 << 10
BATCH_LINES = 1000
BATCH_BYTES = LONGEST_LINE
LINE_OVERHEAD = 8
"""What a message takes for each line at most."""


def configure(command: str, parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the node's own structs")
    parser.set_defaults(run={"send": send, "import": import_events, "export": export}[command])
    if command == "send":
        parser.add_argument(
            "--to",
            default="",
            metavar="MEMBER",
            help="to one device only (its name, or the beginning of its key)",
        )
        parser.add_argument(
            "--plain",
            action="store_true",
            help="with --to NPUB: to a plain Nostr client (NIP-17); NOT post-quantum",
        )
        parser.add_argument(
            "--precedence",
            choices=get_args(PrecedenceName),
            default="routine",
            help="how urgent a note to the team is; everybody on the way sees that",
        )
        parser.add_argument("text", nargs="*", help="the note; - or nothing reads it from input")
    elif command == "import":
        add_import(parser)
    else:
        add_export(parser)


def add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="one event on each line; - reads input")
    parser.add_argument("--again", action="store_true", help="from its beginning, wherever it was broken off")
    parser.add_argument("--refused", metavar="FILE", help="write refused lines to a new file")


def add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="a file that does not exist yet")
    filters.add_arguments(parser)


def send(parsed: argparse.Namespace) -> None:
    text = " ".join(parsed.text)
    if text in ("", "-"):
        text = sys.stdin.read(MAX_NOTE_BYTES + 1).rstrip("\n")
    if not text.strip():
        raise Fatal("There is nothing to send: the note is empty.", exit_code=2)
    home = home_of(parsed.home)
    if parsed.to and parsed.precedence != "routine":
        raise Fatal("Only notes to the whole team have a precedence.", exit_code=2)
    if parsed.plain:
        reply = ask(home, SendPlain(_npub(parsed.to), text))
    else:
        reply = ask(home, _to_one(home, parsed.to, text) if parsed.to else SendNote(text, parsed.precedence))
    if parsed.json:
        print_json(reply.data.events if isinstance(reply.data, EventsData) else ())
    else:
        say(reply.verdict.sentence or "Sent.")


def _npub(who: str) -> str:
    """A whole key: names and beginnings are the team's, and a plain client may be anybody."""
    if not who:
        raise Fatal("Say to whom.", hint="meshconsole send --plain --to NPUB TEXT", exit_code=2)
    from meshconsole.crypto.schnorr import npub_from_bech32

    try:
        return npub_from_bech32(who)
    except Refused as error:
        raise Fatal(
            f"{who!r} is not a Nostr public key. {error.sentence}",
            hint="For a device of the team: send it without --plain.",
            exit_code=2,
        ) from None


def _to_one(home: Home, who: str, text: str) -> SendDirect:
    from meshconsole.cli.members import member_named

    return SendDirect(member_named(home, who).npub, text)


def import_events(parsed: argparse.Namespace) -> int:
    home = home_of(parsed.home)
    if parsed.file == "-":
        counts = _import_input(home)
    else:
        file = Path(parsed.file).absolute()
        if not file.is_file():
            raise Fatal(f"{parsed.file} is not a file.")
        refused = str(Path(parsed.refused).absolute()) if parsed.refused else ""
        reply = ask(home, Import(str(file), not parsed.again, refused))
        if reply.verdict.sentence and not parsed.json:
            say(reply.verdict.sentence)
        counts = reply.data.counts if isinstance(reply.data, CountsData) else {}
    return _report(parsed, counts)


def _import_input(home: Home) -> dict[str, int]:
    """In batches, because only this process can read its own input."""
    total: dict[str, int] = {}
    lines = Lines()
    for batch in _batches(_read(lines, sys.stdin.buffer)):
        for word, count in ask_for(home, ImportLines(batch), CountsData).counts.items():
            total[word] = total.get(word, 0) + count
    return total | ({TOO_LONG: lines.too_long} if lines.too_long else {})


def _batches(lines: Iterable[bytes]) -> Iterator[tuple[bytes, ...]]:
    """As many as one message to the node holds."""
    batch: list[bytes] = []
    size = 0
    for line in lines:
        if batch and (size + len(line) > BATCH_BYTES or len(batch) == BATCH_LINES):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(line)
        size += len(line) + LINE_OVERHEAD
    if batch:
        yield tuple(batch)


def _read(lines: Lines, source: BinaryIO) -> Iterator[bytes]:
    while piece := source.read(PIECE_BYTES):
        yield from lines.feed(piece)
    yield from lines.close()


def export(parsed: argparse.Namespace) -> int:
    command = Export(_new_file(parsed.file), filters.read(parsed))
    return _report(parsed, ask_for(home_of(parsed.home), command, CountsData).counts)


def _new_file(name: str) -> str:
    file = Path(name).absolute()
    if file.exists():
        raise Fatal(f"{name} exists already.", hint="Choose another name, or remove it first.")
    return str(file)


def _report(parsed: argparse.Namespace, counts: dict[str, int]) -> int:
    """1 if something was refused: a script must notice."""
    if parsed.json:
        print_json(counts)
    else:
        say(", ".join(f"{count} {word}" for word, count in counts.items()) or "nothing")
    return int(any(word.startswith("refused") and count for word, count in counts.items()))
