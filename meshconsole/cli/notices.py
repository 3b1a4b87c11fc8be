"""`meshconsole notices`: what is wrong, and what to do. --follow also prints what the node tells."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from meshconsole.cli.following import Changes, Row, add_follow, print_changes, pushes
from meshconsole.cli.home import home_of
from meshconsole.cli.output import print_json, print_table, say
from meshconsole.cli.reading import node_status
from meshconsole.console.words import moment_in_words
from meshconsole.control.messages import NoticesPush, StatusPush

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from meshconsole.core.home import Home
    from meshconsole.core.status import NodeStatus


def configure(_command: str, parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the node's own structs")
    add_follow(parser)
    parser.set_defaults(run=notices)


def notices(parsed: argparse.Namespace) -> None:
    home = home_of(parsed.home)
    if parsed.follow:
        follow(home, as_json=parsed.json)
        return
    standing = node_status(home).health
    if parsed.json:
        print_json(standing)
    elif not standing:
        say("Nothing to report.")
    else:
        rows = [(item.severity, moment_in_words(item.since), item.code, item.line) for item in standing]
        print_table(("", "since", "code", "what, and what to do"), rows)


def follow(home: Home, *, as_json: bool) -> None:
    """What stands, what comes and goes of it, and what the node tells, in the order in which it does."""
    changes, last = Changes(), None
    now = 0.0
    for push in pushes(home):
        match push:
            case StatusPush(status=status) if as_json:
                if status.health != last:
                    print_json({"standing": status.health})
                last = status.health
            case StatusPush(status=status):
                now = status.now
                print_changes(changes.take(_rows(status)), now)
            case NoticesPush(notices=told):
                for notice in told:
                    words = f"{notice.text} {notice.remedy}".strip()
                    line = [(f"{notice.severity}:", words)]
                    print_json(notice) if as_json else print_changes(line, notice.at)
        sys.stdout.flush()


def _rows(now: NodeStatus) -> Iterator[Row]:
    for item in now.health:
        yield Row(item.code, (f"{item.severity}:", item.line), (item.severity, item.line))
