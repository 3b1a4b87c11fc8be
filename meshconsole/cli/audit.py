"""The audit log: its newest lines, its check, its export, and exports of several devices side by side."""

from __future__ import annotations

import sys
from argparse import SUPPRESS
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from meshconsole.cli.ask import ask, ask_for
from meshconsole.cli.following import add_follow, pushes
from meshconsole.cli.home import home_of
from meshconsole.cli.output import print_json, say
from meshconsole.control.audit import AcknowledgeSetBack, AuditTail, ExportAudit, VerifyAudit
from meshconsole.control.messages import CountsData, LinesData
from meshconsole.core.text import safe

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from meshconsole.core.home import Home


def configure(command: str, parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=tail)
    parser.add_argument("--json", action="store_true", help="print the node's own structs")
    parser.add_argument("--limit", type=int, default=100, metavar="N", help="at most N (default 100)")
    add_follow(parser)
    actions = parser.add_subparsers(metavar="ACTION", title="actions (default: the newest lines)")

    verifying = actions.add_parser("verify", help="check every record; names the first bad one")
    verifying.set_defaults(run=verify)

    exporting = actions.add_parser("export", help="write it as JSON lines that others can check")
    exporting.add_argument("file")
    exporting.set_defaults(run=export)

    merging = actions.add_parser("merge", help="check exports of several devices and lay them side by side")
    merging.add_argument("files", nargs="+", metavar="FILE")
    merging.set_defaults(run=merge)

    acknowledging = actions.add_parser(
        "acknowledge", help="go on after this home was set back, when you know why"
    )
    acknowledging.set_defaults(run=acknowledge)
    for action in (verifying, exporting, merging, acknowledging):
        action.add_argument("--json", action="store_true", default=SUPPRESS, help=SUPPRESS)
        action.add_argument("--home", default=SUPPRESS, help=SUPPRESS)


def tail(parsed: argparse.Namespace) -> None:
    home, limit = home_of(parsed.home), max(1, min(parsed.limit, 10_000))
    if parsed.follow:
        _follow(home, limit, as_json=parsed.json)
        return
    _show(ask_for(home, AuditTail(limit), LinesData).lines, as_json=parsed.json)


def _follow(home: Home, limit: int, *, as_json: bool) -> None:
    """The node does not push its log: it is looked at whenever something about the node is different, and
    every ten seconds. A line begins with the number of its record."""
    newest = 0
    for _ in pushes(home):
        for line in ask_for(home, AuditTail(limit), LinesData).lines:
            number = int(line.partition(" ")[0])
            if number > newest:
                newest = number
                print_json(line) if as_json else say(line)
        sys.stdout.flush()


def verify(parsed: argparse.Namespace) -> None:
    _show(ask_for(home_of(parsed.home), VerifyAudit(), LinesData).lines, as_json=parsed.json)


def export(parsed: argparse.Namespace) -> None:
    path = Path(parsed.file).absolute()
    counts = ask_for(home_of(parsed.home), ExportAudit(str(path)), CountsData).counts
    if parsed.json:
        print_json(counts)
    else:
        say(f"Wrote {counts['records']} records to {path}.")


def acknowledge(parsed: argparse.Namespace) -> None:
    say(ask(home_of(parsed.home), AcknowledgeSetBack()).verdict.sentence)


def merge(parsed: argparse.Namespace) -> None:
    """Without a node: exports are checked by themselves. Ordered by each device's own clock."""
    _show(tuple(_merged([Path(file) for file in parsed.files])), as_json=parsed.json)


def _merged(paths: list[Path]) -> Iterator[str]:
    from meshconsole.crypto.bundle import fingerprint, open_bundle
    from meshconsole.crypto.providers import default_provider
    from meshconsole.node.audit.export import read_export

    provider = default_provider()
    rows = []
    for path in paths:
        export, vouched = read_export(path, provider)
        print_ = fingerprint(open_bundle(export.keys, provider).hash)
        yield (f"# {safe(export.name, 64)} {print_}: {len(export.records)} records, signed up to {vouched}")
        rows += [(record.at, export.device, record.seq, export.name, record) for record in export.records]
    for at, _, seq, name, record in sorted(rows, key=lambda row: row[:3]):
        when = _moment(at)
        detail = " ".join(f"{key}={safe(value, 80)}" for key, value in record.detail.items())
        yield f"{when} {safe(name, 32)} {seq} {safe(record.act, 32)} {detail}".rstrip()


def _moment(at: float) -> str:
    """What the file says was checked against nothing: it may be no moment at all."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return "(no such moment)"


def _show(lines: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        print_json(lines)
    for line in () if as_json else lines:
        say(line)
