"""The relay for its operator: who uses it, and what is done to its store."""

from __future__ import annotations

import json
import sys
from argparse import SUPPRESS
from pathlib import Path
from typing import TYPE_CHECKING

from meshconsole.cli import filters, relay_lists
from meshconsole.cli.ask import ask, ask_for
from meshconsole.cli.following import Row, add_follow, follow_status
from meshconsole.cli.home import home_of
from meshconsole.cli.notes import add_export, add_import, export, import_events
from meshconsole.cli.output import print_facts, print_json, print_table, say
from meshconsole.cli.reading import node_status
from meshconsole.console.words import duration_in_words, rate_in_words, short_key, size_in_words
from meshconsole.control.messages import CountsData
from meshconsole.control.relay import (
    BackUpRelay,
    DeleteFromRelay,
    EvictFromRelay,
    PageData,
    RemovedData,
    ScanRelay,
    VacuumRelay,
)
from meshconsole.core.errors import Fatal
from meshconsole.core.kinds import kind_in_words

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from meshconsole.control.relay import RemovedClass
    from meshconsole.core.status import NodeStatus, RelayStatus, Talker

MEGABYTE = 1_000_000


def configure(command: str, parser: argparse.ArgumentParser) -> None:
    del command
    parser.set_defaults(run=show)
    parser.add_argument("--json", action="store_true", help="print the node's own structs")
    add_follow(parser)
    actions = parser.add_subparsers(metavar="ACTION", title="actions (default: show)")
    showing = actions.add_parser("show", help="rates, talkers, slow clients, refusals")
    add_follow(showing, below=True)
    showing.set_defaults(run=show)
    scanning = actions.add_parser("scan", help="print what is stored, oldest first, one event on each line")
    scanning.set_defaults(run=scan)
    filters.add_arguments(scanning)
    exporting = actions.add_parser(
        "export", help="write events to a JSONL file; goes on where it was broken off"
    )
    exporting.set_defaults(run=export)
    add_export(exporting)
    importing = actions.add_parser("import", help="take over a JSONL file; goes on where it was broken off")
    importing.set_defaults(run=import_events)
    add_import(importing)
    deleting = actions.add_parser("delete", help="remove what matches, for good")
    deleting.set_defaults(run=delete)
    filters.add_arguments(deleting)
    evicting = actions.add_parser("evict", help="make room: others' events first, oldest first")
    evicting.set_defaults(run=evict)
    evicting.add_argument("megabytes", type=float, metavar="MEGABYTES", help="how much room to make")
    for action in (deleting, evicting):
        action.add_argument("--dry-run", action="store_true", help="only say what would be removed")
        action.add_argument("--yes", action="store_true", help="do not ask")
    copying = actions.add_parser("backup", help="copy the event store while it is in use")
    copying.set_defaults(run=back_up)
    copying.add_argument("file", help="a file that does not exist yet")
    cleaning = actions.add_parser("vacuum", help="give free pages back to the disk")
    cleaning.set_defaults(run=vacuum)
    relay_lists.add(actions)
    for action in actions.choices.values():
        # SUPPRESS: what stands before the action must survive the action's own default.
        action.add_argument("--json", action="store_true", default=SUPPRESS, help=SUPPRESS)
        action.add_argument("--home", default=SUPPRESS, help=SUPPRESS)


# --- show -----------------------------------------------------------------------------------------


def show(parsed: argparse.Namespace) -> None:
    home = home_of(parsed.home)
    if parsed.follow:
        follow_status(home, as_json=parsed.json, rows=_rows, value=lambda now: now.relay)
        return
    now = node_status(home)
    relay = now.relay
    if parsed.json:
        print_json(relay)
        return
    print_facts(_facts(now))
    if relay.kinds:
        say("")
        rows = [(_kind(row.kind), str(row.count), f"{row.per_s:.1f}/s") for row in relay.kinds]
        print_table(("kind", "events", "now"), rows, right=frozenset({1, 2}))
    for title, talkers in (("key", relay.keys), ("address", relay.addresses)):
        if talkers:
            say("")
            heads = (title, "open", "events", "requests", "in", "out", "refused")
            print_table(heads, [_talker(row) for row in talkers], right=frozenset(range(1, 7)))
    if relay.slow:
        say("")
        slow = [
            (
                row.address,
                short_key(row.npub) or "-",
                size_in_words(row.unsent_bytes),
                duration_in_words(row.for_s),
            )
            for row in relay.slow
        ]
        print_table(("slow client", "key", "owed", "for"), slow, right=frozenset({2, 3}))
    if relay.refusals:
        say("")
        refusals = sorted(relay.refusals.items(), key=lambda item: (-item[1], item[0]))
        print_table(("refused", "times"), [(reason, str(n)) for reason, n in refusals], right=frozenset({1}))


def _rows(now: NodeStatus) -> Iterator[Row]:
    for name, value in _facts(now):
        if value:
            yield Row(name, (name, value), value)
    for reason, count in now.relay.refusals.items():
        yield Row(f"refused {reason}", (f"refused {count} times", reason), count)
    for slow in now.relay.slow:
        yield Row(f"slow {slow.address}", ("slow client", slow.address), None)


def _facts(now: NodeStatus) -> Iterator[tuple[str, str]]:
    relay: RelayStatus = now.relay
    rates = relay.rates
    yield "relay", f"{relay.address}, {'public' if relay.public else 'team only'}" if relay.enabled else "off"
    clients = f"{relay.clients}, {relay.subscriptions} subscriptions with {relay.filters} filters"
    yield "clients", clients + (f", {relay.strangers} not logged in" if relay.strangers else "")
    yield "handshakes", f"{relay.handshakes} unfinished" if relay.handshakes else ""
    yield "events in", f"{relay.events_in}, {rates.events_in:.1f}/s"
    yield "events out", f"{relay.events_out}, {rates.events_out:.1f}/s"
    yield "requests", f"{relay.requests}, {rates.requests:.1f}/s"
    yield "bytes in", f"{size_in_words(relay.bytes_in)}, {rate_in_words(rates.bytes_in)}"
    yield "bytes out", f"{size_in_words(relay.bytes_out)}, {rate_in_words(rates.bytes_out)}"
    yield "refused", f"{sum(relay.refusals.values())}, {rates.refused:.1f}/s" if relay.refusals else ""
    yield "queries cut", str(relay.queries_cut) if relay.queries_cut else ""
    yield "slow", f"{relay.slow_closed} ended because they were not read" if relay.slow_closed else ""
    growth = now.storage.growth_bps * 86_400
    grows = f", grows {size_in_words(growth)} a day" if growth > 0 else ""
    yield "store", f"{now.storage.events_count} events, {size_in_words(now.storage.events_bytes)}{grows}"


def _kind(kind: int) -> str:
    if kind < 0:
        return "others"
    words = kind_in_words(kind)
    return words if words.endswith(str(kind)) else f"{kind} {words}"


def _talker(row: Talker) -> tuple[str, ...]:
    return (
        short_key(row.source) if len(row.source) == 64 else row.source,
        str(row.connections),
        str(row.events),
        str(row.requests),
        size_in_words(row.bytes_in),
        size_in_words(row.bytes_out),
        str(row.refused),
    )


# --- the store ------------------------------------------------------------------------------------


def scan(parsed: argparse.Namespace) -> None:
    """In ASCII, so that what a stranger wrote reaches no terminal as control characters; ids stay true."""
    home, wanted = home_of(parsed.home), filters.read(parsed)
    after: int | None = None
    while True:
        page = ask_for(home, ScanRelay(wanted, after), PageData)
        for event in page.events:
            print_json(json.loads(event))
        if page.after is None:
            return
        after = page.after


def delete(parsed: argparse.Namespace) -> None:
    wanted = filters.read(parsed)
    if not wanted:
        raise Fatal(
            "Say what is to be deleted.", hint="A filter as JSON, or flags; {} is everything.", exit_code=2
        )
    home = home_of(parsed.home)
    found = ask_for(home, DeleteFromRelay(wanted, dry_run=True), RemovedData).classes
    if not _goes_on(parsed, found):
        return
    _tell(parsed, ask_for(home, DeleteFromRelay(wanted, dry_run=False), RemovedData).classes, "removed")


def evict(parsed: argparse.Namespace) -> None:
    need = int(parsed.megabytes * MEGABYTE)
    if need < 1:
        raise Fatal("Nothing is to be removed.", exit_code=2)
    home = home_of(parsed.home)
    found = ask_for(home, EvictFromRelay(need, dry_run=True), RemovedData).classes
    if not _goes_on(parsed, found):
        return
    _tell(parsed, ask_for(home, EvictFromRelay(need, dry_run=False), RemovedData).classes, "removed")


def _goes_on(parsed: argparse.Namespace, found: tuple[RemovedClass, ...]) -> bool:
    """Whether what was found is to be removed; when not, it is told."""
    count = sum(row.count for row in found)
    if parsed.dry_run or not count:
        _tell(parsed, found, "would be removed")
        return False
    if parsed.yes:
        return True
    if not sys.stdin.isatty():
        raise Fatal(f"{count} events would be removed for good.", hint="Add --yes if that is what you want.")
    for row in found:
        say(f"{_amount(row)}: {row.name}, gone from this node for good.")
    if input(f"Type {count} to go on: ").strip() != str(count):
        raise Fatal("Nothing was removed: that is not the number.")
    return True


def _tell(parsed: argparse.Namespace, rows: tuple[RemovedClass, ...], word: str) -> None:
    if parsed.json:
        print_json(rows)
        return
    if not any(row.count for row in rows):
        say("Nothing matches.")
    for row in rows:
        if row.count:
            say(f"{_amount(row)}, {word}: {row.name}")


def _amount(row: RemovedClass) -> str:
    return f"{row.count} event{'s' if row.count != 1 else ''}, {size_in_words(row.bytes)}"


def back_up(parsed: argparse.Namespace) -> None:
    file = Path(parsed.file).absolute()
    if file.exists():
        raise Fatal(f"{parsed.file} exists already.", hint="Choose another name, or remove it first.")
    say(ask(home_of(parsed.home), BackUpRelay(str(file))).verdict.sentence)


def vacuum(parsed: argparse.Namespace) -> None:
    counts = ask_for(home_of(parsed.home), VacuumRelay(), CountsData).counts
    if parsed.json:
        print_json(counts)
    else:
        freed = size_in_words(max(0, counts["bytes before"] - counts["bytes now"]))
        say(f"{freed} given back to the disk, {size_in_words(counts['bytes now'])} in use.")
