"""The way to other devices: ping, trace, why, netcheck. The node asks; this prints what it found."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from meshconsole.cli.ask import ask_for
from meshconsole.cli.home import home_of
from meshconsole.cli.output import print_facts, print_json, print_table, say
from meshconsole.console.words import duration_in_words
from meshconsole.control.reach import (
    DiagnosisData,
    FindingsData,
    HopsData,
    Netcheck,
    PingPeer,
    PongData,
    TracePeer,
    WhyPeer,
)
from meshconsole.core.errors import Unavailable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from meshconsole.core.home import Home
    from meshconsole.core.reachability import Pong

CLOCK_SHOWN_S = 2.0
"""Offsets below it are as likely the network's as the clock's."""


def configure(command: str, parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the node's own structs")
    runs: dict[str, Callable[[argparse.Namespace], int | None]] = {
        "ping": ping,
        "trace": trace,
        "why": why,
        "netcheck": netcheck,
    }
    parser.set_defaults(run=runs[command])
    if command != "netcheck":
        parser.add_argument("peer", help="a device's name, the beginning of its key, or HOST:PORT")
    if command == "ping":
        parser.add_argument("--count", type=int, default=4, metavar="N", help="so many echoes (default 4)")
        parser.add_argument(
            "--interval", type=float, default=1.0, metavar="S", help="seconds between them (default 1)"
        )


def ping(parsed: argparse.Namespace) -> int:
    """1 if no echo came back."""
    home, answered = home_of(parsed.home), 0
    count = max(1, min(parsed.count, 10_000))
    for number in range(count):
        if number:
            time.sleep(max(0.0, parsed.interval))
        answered += _ping_once(home, parsed)
    if not parsed.json:
        say(f"{answered} of {count} echoes came back.")
    return 0 if answered else 1


def _ping_once(home: Home, parsed: argparse.Namespace) -> bool:
    try:
        pong = ask_for(home, PingPeer(parsed.peer), PongData).pong
    except Unavailable as error:
        if not _runs(home):
            raise
        say(str(error)) if not parsed.json else print_json({"error": error.sentence})
        return False
    print_json(pong) if parsed.json else say(_pong_in_words(pong))
    return True


def _runs(home: Home) -> bool:
    from meshconsole.cli.ask import runs

    return runs(home)


def _pong_in_words(pong: Pong) -> str:
    way = f"over {', '.join(pong.via)}" if pong.via else f"straight by {pong.path} {pong.address}"
    return f"{pong.name}: {pong.rtt_ms:.1f} ms {way}{_clock_in_words(pong.clock_offset_s)}"


def _clock_in_words(offset_s: float | None) -> str:
    if offset_s is None or abs(offset_s) < CLOCK_SHOWN_S:
        return ""
    return f", its clock is {duration_in_words(abs(offset_s))} {'ahead' if offset_s > 0 else 'behind'}"


def trace(parsed: argparse.Namespace) -> None:
    hops = ask_for(home_of(parsed.home), TracePeer(parsed.peer), HopsData).hops
    if parsed.json:
        print_json(hops)
        return
    rows = [
        (str(number), hop.name, "no answer" if hop.rtt_ms is None else f"{hop.rtt_ms:.1f} ms", hop.npub[:16])
        for number, hop in enumerate(hops, 1)
    ]
    print_table(("hop", "name", "rtt", "key"), rows, right=frozenset({0, 2}))


def why(parsed: argparse.Namespace) -> int:
    """1 if something is wrong: a cause is named, or the device is not linked."""
    diagnosis = ask_for(home_of(parsed.home), WhyPeer(parsed.peer), DiagnosisData).diagnosis
    if parsed.json:
        print_json(diagnosis)
    else:
        say(diagnosis.sentence)
        print_facts([("cause", diagnosis.cause), ("to do", diagnosis.remedy)])
        for line in diagnosis.evidence:
            say(f"  {line}")
    return 0 if diagnosis.is_linked and not diagnosis.cause else 1


def netcheck(parsed: argparse.Namespace) -> int:
    """1 if anything is bad."""
    findings = ask_for(home_of(parsed.home), Netcheck(), FindingsData).findings
    if parsed.json:
        print_json(findings)
    else:
        print_table(("", "check", "finding"), [(f.outcome, f.check, f.text) for f in findings])
        for finding in findings:
            if finding.remedy and finding.outcome != "good":
                say(f"{finding.check}: {finding.remedy}")
    return 1 if any(finding.outcome == "bad" for finding in findings) else 0
