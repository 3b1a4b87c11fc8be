"""The team's files: list, add, get, pin, unpin."""

from __future__ import annotations

from argparse import SUPPRESS
from pathlib import Path
from typing import TYPE_CHECKING

from meshconsole.cli.ask import ask, ask_for
from meshconsole.cli.home import home_of
from meshconsole.cli.output import print_json, print_table, say
from meshconsole.console.words import moment_in_words, size_in_words
from meshconsole.control.messages import AddBlob, BlobsData, GetBlob, ListBlobs, Pin, Unpin
from meshconsole.core.errors import Fatal

if TYPE_CHECKING:
    import argparse

    from meshconsole.core.status import BlobView


def configure(command: str, parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=list_blobs)
    parser.add_argument("--json", action="store_true", help="print the node's own structs")
    actions = parser.add_subparsers(metavar="ACTION", title="actions (default: list)")
    listing = actions.add_parser("list", help="every file that the team has shared")
    adding = actions.add_parser("add", help="seal a file or a folder and share it with the team")
    adding.add_argument("file", metavar="PATH")
    getting = actions.add_parser("get", help="fetch a file by its CID and write it, opened")
    getting.add_argument("cid")
    getting.add_argument(
        "-o", "--output", default=".", metavar="FILE", help="a file or folder (default: here)"
    )
    pinning = actions.add_parser("pin", help="keep a file on this node")
    unpinning = actions.add_parser("unpin", help="let the store drop a file when it needs room")
    for action in (pinning, unpinning):
        action.add_argument("cid")
    runs = {listing: list_blobs, adding: add, getting: get, pinning: pin, unpinning: unpin}
    for action, run in runs.items():
        action.set_defaults(run=run)
        # SUPPRESS: what stands before the action must survive the action's own default.
        action.add_argument("--json", action="store_true", default=SUPPRESS, help=SUPPRESS)
        action.add_argument("--home", default=SUPPRESS, help=SUPPRESS)


def list_blobs(parsed: argparse.Namespace) -> None:
    blobs = ask_for(home_of(parsed.home), ListBlobs(), BlobsData).blobs
    if parsed.json:
        print_json(blobs)
    elif not blobs:
        say("No files yet. Add one: meshconsole blobs add FILE")
    else:
        heads = ("added", "name", "size", "state", "pin", "by", "cid")
        print_table(heads, [_row(blob) for blob in blobs], right=frozenset({2}))


def _row(blob: BlobView) -> tuple[str, ...]:
    state = blob.state
    if blob.state in ("partial", "fetching") and blob.sealed_size:
        state = f"{blob.state} {100 * blob.present_bytes // blob.sealed_size} %"  # type: ignore[assignment]
    pinned = "pin" if blob.pinned else ""
    size = size_in_words(blob.size)
    return moment_in_words(blob.added_at), blob.name, size, state, pinned, blob.author, blob.cid


def add(parsed: argparse.Namespace) -> None:
    file = Path(parsed.file).absolute()
    if not file.exists():
        raise Fatal(f"There is no {parsed.file}.")
    blobs = ask_for(home_of(parsed.home), AddBlob(str(file)), BlobsData).blobs
    if parsed.json:
        print_json(blobs)
    for blob in () if parsed.json else blobs:
        say(f"{blob.cid}  {size_in_words(blob.size)}  {blob.name}")


def get(parsed: argparse.Namespace) -> None:
    destination = Path(parsed.output).absolute()
    _report(ask(home_of(parsed.home), GetBlob(parsed.cid, str(destination))).verdict.sentence)


def pin(parsed: argparse.Namespace) -> None:
    _report(ask(home_of(parsed.home), Pin(parsed.cid)).verdict.sentence)


def unpin(parsed: argparse.Namespace) -> None:
    _report(ask(home_of(parsed.home), Unpin(parsed.cid)).verdict.sentence)


def _report(sentence: str) -> None:
    if sentence:
        say(sentence)
