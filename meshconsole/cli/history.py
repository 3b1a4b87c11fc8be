"""`meshconsole history`: the node's recent past as lines to look at, or as numbers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from meshconsole.cli.ask import ask_for
from meshconsole.cli.following import add_follow, print_changes, pushes
from meshconsole.cli.home import home_of
from meshconsole.cli.output import print_json, print_table
from meshconsole.cli.reading import node_status
from meshconsole.console.widgets.spark import spark
from meshconsole.console.words import duration_in_words, rate_in_words, short_key, size_in_words
from meshconsole.control.messages import GetHistory, HistoryData, StatusPush

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from meshconsole.core.history import Track
    from meshconsole.core.home import Home

WIDTH = 40
UNICODE, ASCII = "▁▂▃▄▅▆▇█", "_.:-=+*#"


def configure(command: str, parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print all values")
    add_follow(parser)
    parser.set_defaults(run=history)


def history(parsed: argparse.Namespace) -> None:
    home = home_of(parsed.home)
    if parsed.follow:
        _follow(home, as_json=parsed.json)
        return
    tracks = ask_for(home, GetHistory(), HistoryData).tracks
    if parsed.json:
        print_json(tracks)
        return
    names = {peer.npub: peer.name for peer in node_status(home).peers}
    steps = UNICODE if (sys.stdout.encoding or "").lower().startswith("utf") else ASCII
    rows = [
        (
            _what(track, names),
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


def _follow(home: Home, *, as_json: bool) -> None:
    """One line for each step of time that is over, those that the node remembers first."""
    told: dict[tuple[str, str], float] = {}
    for push in pushes(home):
        if not isinstance(push, StatusPush):
            continue
        names = {peer.npub: peer.name for peer in push.status.peers}
        for track in ask_for(home, GetHistory(), HistoryData).tracks:
            for at, value in _over(track, told.get((track.name, track.npub), 0.0)):
                told[track.name, track.npub] = at
                if as_json:
                    print_json({"at": at, "name": track.name, "npub": track.npub, "value": value})
                else:
                    print_changes([(_what(track, names), _in_words(track, value))], at)
        sys.stdout.flush()


def _over(track: Track, told: float) -> list[tuple[float, float]]:
    """Times and values of the steps after `told` that are over: the last one is still going on."""
    first = track.at - track.step_s * (len(track.values) - 1)
    steps = [(first + at * track.step_s, value) for at, value in enumerate(track.values[:-1])]
    return [(at, value) for at, value in steps if at > told]


def _what(track: Track, names: Mapping[str, str]) -> str:
    return f"rtt {names.get(track.npub) or short_key(track.npub)}" if track.npub else track.name


def _in_words(track: Track, value: float) -> str:
    if track.name == "rtt":
        return f"{value:.0f} ms"
    return size_in_words(value) if track.name == "stored" else rate_in_words(value)
