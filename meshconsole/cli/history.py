"""`meshconsole history`: the node's recent past as lines to look at, or as numbers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from meshconsole.cli.ask import ask_for
from meshconsole.cli.home import home_of
from meshconsole.cli.output import print_json, print_table
from meshconsole.cli.reading import node_status
from meshconsole.console.widgets.spark import spark
from meshconsole.console.words import duration_in_words, rate_in_words, short_key, size_in_words
from meshconsole.control.messages import GetHistory, HistoryData

if TYPE_CHECKING:
    import argparse

    from meshconsole.core.history import Track

WIDTH = 40
UNICODE, ASCII = "▁▂▃▄▅▆▇█", "_.:-=+*#"


def configure(command: str, parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print all values")
    parser.set_defaults(run=history)


def history(parsed: argparse.Namespace) -> None:
    home = home_of(parsed.home)
    tracks = ask_for(home, GetHistory(), HistoryData).tracks
    if parsed.json:
        print_json(tracks)
        return
    names = {peer.npub: peer.name for peer in node_status(home).peers}
    steps = UNICODE if (sys.stdout.encoding or "").lower().startswith("utf") else ASCII
    rows = [
        (
            f"rtt {names.get(track.npub) or short_key(track.npub)}" if track.npub else track.name,
            _in_words(track, track.values[-1]),
            _in_words(track, max(track.values)),
            duration_in_words(len(track.values) * track.step_s),
            spark(track.values, WIDTH, steps).lstrip(),
        )
        for track in tracks
        if track.values
    ]
    heads = ("what", "now", "highest", "over", f"the last {WIDTH} steps")
    print_table(heads, rows, right=frozenset({1, 2, 3}))


def _in_words(track: Track, value: float) -> str:
    if track.name == "rtt":
        return f"{value:.0f} ms"
    return size_in_words(value) if track.name == "stored" else rate_in_words(value)
