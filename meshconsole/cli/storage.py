"""`meshconsole storage`: the pane Storage in plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.cli.following import Row, add_follow, follow_status
from meshconsole.cli.home import home_of
from meshconsole.cli.output import print_facts, print_json
from meshconsole.cli.reading import node_status
from meshconsole.console.words import duration_in_words, moment_in_words, size_in_words

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from meshconsole.core.status import NodeStatus


def configure(_command: str, parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the node's own structs")
    add_follow(parser)
    parser.set_defaults(run=storage)


def storage(parsed: argparse.Namespace) -> None:
    home = home_of(parsed.home)
    if parsed.follow:
        follow_status(home, as_json=parsed.json, rows=_rows, value=lambda now: now.storage)
        return
    now = node_status(home)
    if parsed.json:
        print_json(now.storage)
    else:
        print_facts(_facts(now))


def _facts(now: NodeStatus) -> Iterator[tuple[str, str]]:
    kept = now.storage
    yield "used", f"{size_in_words(kept.used_bytes)} of {size_in_words(kept.quota_bytes)}"
    yield "refusing", "writes are refused: no room is left" if kept.refusing else ""
    yield "events", f"{size_in_words(kept.events_bytes)}, {kept.events_count} events"
    pinned = f", {size_in_words(kept.pinned_bytes)} of it pinned" if kept.pinned_bytes else ""
    yield "files", f"{size_in_words(kept.blocks_bytes)}, {kept.blocks_count} blocks{pinned}"
    if kept.evicted_blocks:
        freed = size_in_words(kept.evicted_bytes)
        yield "made room", f"{freed} of unpinned files let go since the start, {kept.evicted_blocks} blocks"
    damaged = f", {kept.checked_damaged} were damaged" if kept.checked_damaged else ", all sound"
    yield "checked", f"every block, {moment_in_words(kept.checked_at)}{damaged}" if kept.checked_at else ""
    yield "files at", kept.blocks_at
    yield "out of reach", kept.blocks_trouble
    may_go = size_in_words(kept.evictable_bytes)
    yield "evict", f"{may_go} not pinned, least used first" if kept.evictable_bytes else ""
    yield "audit", size_in_words(kept.audit_bytes)
    yield "log", size_in_words(kept.log_bytes) if kept.log_bytes else ""
    yield "growth", f"{size_in_words(kept.growth_bps * 86_400)} a day" if kept.growth_bps > 0 else "none"
    yield "full in", "" if kept.full_in_s is None else duration_in_words(kept.full_in_s)
    files = "" if kept.disk_free_files is None else f", room for {kept.disk_free_files} files"
    yield "disk", f"{size_in_words(kept.disk_free_bytes)} free{files}"


def _rows(now: NodeStatus) -> Iterator[Row]:
    for name, value in _facts(now):
        if value:
            # What others write to the disk moves its free space all the time.
            yield Row(name, (name, value), None if name == "disk" else value)
