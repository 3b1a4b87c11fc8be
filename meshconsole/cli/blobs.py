"""The team's files: list, add, get, pin and unpin; fetches in the background; the check of all blocks."""

from __future__ import annotations

import sys
import time
from argparse import SUPPRESS
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from meshconsole.cli.ask import ask, ask_for
from meshconsole.cli.blob_peers import list_peers
from meshconsole.cli.following import add_follow, print_changes, pushes
from meshconsole.cli.home import home_of
from meshconsole.cli.output import print_json, print_table, say
from meshconsole.console.words import copies_in_words, moment_in_words, size_in_words
from meshconsole.control.files import (
    AddBlob,
    BlobsData,
    CancelFetch,
    DropBlob,
    ExportCar,
    FetchBlob,
    GetBlob,
    ImportCar,
    JobsData,
    ListBlobs,
    ListJobs,
    PauseFetch,
    Pin,
    ScrubBlobs,
    Unpin,
)
from meshconsole.control.messages import BlobsPush, CountsData, Subscribe
from meshconsole.core.errors import Fatal

if TYPE_CHECKING:
    import argparse

    from meshconsole.core.home import Home
    from meshconsole.core.status import BlobView, JobView


def configure(command: str, parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=list_blobs)
    parser.add_argument("--json", action="store_true", help="print the node's own structs")
    add_follow(parser)
    actions = parser.add_subparsers(metavar="ACTION", title="actions (default: list)")
    listing = actions.add_parser("list", help="every file that the team has shared")
    add_follow(listing, below=True)
    adding = actions.add_parser("add", help="seal a file or a folder and share it with the team")
    adding.add_argument("file", metavar="PATH")
    getting = actions.add_parser("get", help="fetch a file by its CID and write it, opened")
    getting.add_argument("cid")
    getting.add_argument(
        "-o", "--output", default=".", metavar="FILE", help="a file or folder (default: here)"
    )
    pinning = actions.add_parser("pin", help="keep a file on this node")
    unpinning = actions.add_parser("unpin", help="let the store drop a file when it needs room")
    pinning.add_argument(
        "--copies", metavar="N[:M]", default="", help="how many the team should hold: at least N, at most M"
    )
    pinning.add_argument("--days", type=float, metavar="D", help="only for so long")
    fetching = actions.add_parser("fetch", help="bring a file here in the background")
    pausing = actions.add_parser("pause", help="stop a fetch until it is resumed, over restarts too")
    resuming = actions.add_parser("resume", help="go on with a fetch that was paused or failed")
    cancelling = actions.add_parser("cancel", help="forget a fetch")
    for action in (pinning, unpinning, fetching, pausing, resuming, cancelling):
        action.add_argument("cid")
    dropping = actions.add_parser("drop", help="remove a file from this node; others keep theirs")
    dropping.add_argument("cid")
    dropping.add_argument("--force", action="store_true", help="even where it may be the last copy")
    exporting = actions.add_parser("export", help="write files, sealed as they are, to a CAR file")
    exporting.add_argument("cid", nargs="+")
    exporting.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="a file that is not there yet"
    )
    importing = actions.add_parser("import", help="take in the blocks of a CAR file, of version 1 or 2")
    importing.add_argument("file")
    jobs = actions.add_parser("jobs", help="fetches that are not done, and how far they are")
    peers = actions.add_parser("peers", help="other IPFS programs that exchange blocks with this node")
    scrubbing = actions.add_parser("scrub", help="read every block and compare it with its hash")
    runs = {
        listing: list_blobs,
        adding: add,
        getting: get,
        pinning: pin,
        unpinning: unpin,
        fetching: fetch,
        pausing: pause,
        resuming: fetch,
        cancelling: cancel,
        dropping: drop,
        exporting: export,
        importing: import_car,
        jobs: list_jobs,
        peers: list_peers,
        scrubbing: scrub,
    }
    for action, run in runs.items():
        action.set_defaults(run=run)
        # SUPPRESS: what stands before the action must survive the action's own default.
        action.add_argument("--json", action="store_true", default=SUPPRESS, help=SUPPRESS)
        action.add_argument("--home", default=SUPPRESS, help=SUPPRESS)


def list_blobs(parsed: argparse.Namespace) -> None:
    home = home_of(parsed.home)
    blobs = ask_for(home, ListBlobs(), BlobsData).blobs
    if parsed.follow:
        _follow(home, blobs, as_json=parsed.json)
    elif parsed.json:
        print_json(blobs)
    elif not blobs:
        say("No files yet. Add one: meshconsole blobs add FILE")
    else:
        heads = ("added", "name", "size", "state", "pin", "by", "copies", "cid")
        print_table(heads, [_row(blob) for blob in blobs], right=frozenset({2}))


def _follow(home: Home, blobs: tuple[BlobView, ...], *, as_json: bool) -> None:
    """All files, and each one again when something about it is different; with --json one object a line."""
    for push in chain([BlobsPush(blobs)], pushes(home, Subscribe(1.0, events=False, blobs=True))):
        for blob in push.blobs if isinstance(push, BlobsPush) else ():
            print_json(blob) if as_json else print_changes([(*_row(blob)[1:], blob.error)], time.time())
        sys.stdout.flush()


def _row(blob: BlobView) -> tuple[str, ...]:
    state = blob.state
    if blob.state in ("partial", "fetching") and blob.sealed_size:
        state = f"{blob.state} {100 * blob.present_bytes // blob.sealed_size} %"  # type: ignore[assignment]
    pinned = "pin" if blob.pinned else ""
    size = size_in_words(blob.size)
    copies = copies_in_words(blob.copies, blob.copies_wanted)
    return moment_in_words(blob.added_at), blob.name, size, state, pinned, blob.author, copies, blob.cid


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
    least, most = _numbers(parsed.copies)
    end = time.time() + parsed.days * 86_400 if parsed.days is not None else None
    _report(ask(home_of(parsed.home), Pin(parsed.cid, least, most, end)).verdict.sentence)


def _numbers(text: str) -> tuple[int, int]:
    least, _, most = text.partition(":")
    try:
        numbers = int(least or 0), int(most or 0)
    except ValueError:
        numbers = -1, -1
    if not (0 <= numbers[0] <= 100 and (numbers[1] == 0 or numbers[0] <= numbers[1] <= 1000)):
        raise Fatal(f"{text} is not a number of copies.", hint="For example: --copies 2 or 2:4", exit_code=2)
    return numbers


def unpin(parsed: argparse.Namespace) -> None:
    _report(ask(home_of(parsed.home), Unpin(parsed.cid)).verdict.sentence)


def fetch(parsed: argparse.Namespace) -> None:
    _report(ask(home_of(parsed.home), FetchBlob(parsed.cid)).verdict.sentence)


def pause(parsed: argparse.Namespace) -> None:
    _report(ask(home_of(parsed.home), PauseFetch(parsed.cid)).verdict.sentence)


def cancel(parsed: argparse.Namespace) -> None:
    _report(ask(home_of(parsed.home), CancelFetch(parsed.cid)).verdict.sentence)


def drop(parsed: argparse.Namespace) -> None:
    _report(ask(home_of(parsed.home), DropBlob(parsed.cid, parsed.force)).verdict.sentence)


def export(parsed: argparse.Namespace) -> None:
    file = Path(parsed.output).absolute()
    if file.exists():
        raise Fatal(f"{parsed.output} exists already.", hint="Choose another name with -o.")
    _count(parsed, ask_for(home_of(parsed.home), ExportCar(tuple(parsed.cid), str(file)), CountsData).counts)


def import_car(parsed: argparse.Namespace) -> None:
    file = str(Path(parsed.file).absolute())
    _count(parsed, ask_for(home_of(parsed.home), ImportCar(file), CountsData).counts)


def _count(parsed: argparse.Namespace, counts: dict[str, int]) -> None:
    if parsed.json:
        print_json(counts)
        return
    for name, count in counts.items():
        say(f"{name}: {count}")


def list_jobs(parsed: argparse.Namespace) -> None:
    jobs = ask_for(home_of(parsed.home), ListJobs(), JobsData).jobs
    if parsed.json:
        print_json(jobs)
    elif not jobs:
        say("Nothing is being fetched.")
    else:
        print_table(
            ("name", "here", "of", "state", "peers", "cid"), [_job(job) for job in jobs], right=_RIGHT
        )


_RIGHT = frozenset({1, 2, 4})


def _job(job: JobView) -> tuple[str, ...]:
    total = size_in_words(job.total_bytes) if job.total_bytes is not None else "?"
    state = f"{job.state}: {job.error}" if job.error else job.state
    return job.name, size_in_words(job.have_bytes), total, state, str(job.peers), job.cid


def scrub(parsed: argparse.Namespace) -> int:
    """Exit code 1 where something was damaged."""
    reply = ask(home_of(parsed.home), ScrubBlobs())
    counts = reply.data.counts if isinstance(reply.data, CountsData) else {}
    if parsed.json:
        print_json(counts)
    else:
        say(f"{counts['read']} blocks read, {counts['damaged']} damaged.")
        _report(reply.verdict.sentence)
    return 1 if counts["damaged"] else 0


def _report(sentence: str) -> None:
    if sentence:
        say(sentence)
