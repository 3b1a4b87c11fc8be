"""What became of the notes sent from here, and telling an author that a note was read."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

from meshconsole.cli.ask import ask, ask_for
from meshconsole.cli.following import Row, add_follow, follow_status
from meshconsole.cli.home import home_of
from meshconsole.cli.output import print_json, print_table, say
from meshconsole.console.words import moment_in_words
from meshconsole.control.messages import EventsData, GetStatus, ListEvents, StatusData
from meshconsole.control.notes import MarkRead
from meshconsole.core.errors import Fatal

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from meshconsole.core.home import Home
    from meshconsole.core.status import NodeStatus, SentStatus

LOOKED_AT = 2000
SHORTEST = 4


def configure(_command: str, parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the node's own structs")
    add_follow(parser)
    parser.add_argument(
        "--read",
        default="",
        metavar="ID",
        help="tell the author of a note that it was read here (the note's id, or its beginning)",
    )
    parser.set_defaults(run=receipts)


def receipts(parsed: argparse.Namespace) -> None:
    home = home_of(parsed.home)
    if parsed.read:
        say(ask(home, MarkRead(_whole_id(home, parsed.read.lower()))).verdict.sentence or "Told.")
        return
    if parsed.follow:
        follow_status(home, as_json=parsed.json, rows=_rows, value=lambda now: now.sent)
        return
    now = ask_for(home, GetStatus(), StatusData).status
    if parsed.json:
        print_json(now.sent)
    elif not now.sent:
        say("No note was sent from here since the node started.")
    else:
        print_table(("sent", "id", "precedence", "state", "not yet"), [_row(note, now) for note in now.sent])


def _row(note: SentStatus, now: NodeStatus) -> tuple[str, ...]:
    names = {peer.npub: peer.name for peer in now.peers}
    lacks = ", ".join(names.get(npub, npub[:8]) for npub in note.lacks)
    return moment_in_words(note.at), note.id[:8], note.precedence, note.state, lacks or "-"


def _rows(now: NodeStatus) -> Iterator[Row]:
    """The oldest first, as they come."""
    for note in reversed(now.sent):
        sent, short, precedence, state, lacks = _row(note, now)
        not_yet = "" if lacks == "-" else f"not yet {lacks}"
        yield Row(note.id, (sent, short, precedence, state, not_yet), (state, note.lacks))


def _whole_id(home: Home, beginning: str) -> str:
    if len(beginning) < SHORTEST or not set(beginning) <= set(string.hexdigits.lower()):
        raise Fatal(f"A note's id has hex digits, {SHORTEST} of them at least.", exit_code=2)
    events = ask_for(home, ListEvents(LOOKED_AT), EventsData).events
    found = {view.id for view in events if view.id.startswith(beginning)}
    if len(found) != 1:
        what = "No note" if not found else "More than one note"
        raise Fatal(f"{what} here begins with that.", hint="See: meshconsole events --json", exit_code=2)
    return found.pop()
