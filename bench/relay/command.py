"""`python -m bench relay`: our own node, or any relay, alone or beside others, in interleaved rounds."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bench.relay.growth import grow
from bench.relay.phases import PHASES, UNITS, Plan, prepare
from bench.relay.servers import OwnNode, server
from bench.relay.summary import judge, medians, table
from bench.relay.wire import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.relay.servers import Server
    from bench.relay.summary import Metrics

TARGET = """
A TARGET is a URL (ws://127.0.0.1:7777), or `meshconsole` with a mode (meshconsole:saver, :balanced, :full;
our own node as it is shipped, on a fresh home), or a command that starts a relay, with {port} and {dir} in
it. NAME= before it gives it a name. The goals that have a second relay know it by the names `strfry` and
`nostr-relay`. A relay at a URL must hold nothing at first; every round adds events of its own to it.
"""


def main(words: Sequence[str]) -> int:
    chosen = _parser().parse_args(words)
    unknown = set(chosen.only.split(",")) - set(PHASES) if chosen.only else set()
    if unknown:
        print(
            f"There is no phase {', '.join(sorted(unknown))}; they are {', '.join(PHASES)}.", file=sys.stderr
        )
        return 2
    pids = dict(_named_pid(text) for text in chosen.pid)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    try:
        servers = [server(text, pids) for text in (chosen.target, *chosen.beside)]
        if len({each.name for each in servers}) < len(servers):
            raise BenchError("two relays have the same name; put NAME= before one of them")
        phases = [
            name for name in PHASES if name == "ingest" or not chosen.only or name in chosen.only.split(",")
        ]
        if not chosen.json:
            print(
                f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
                f"load {os.getloadavg()[0]:.1f}; {chosen.events:,} events, {chosen.rounds} rounds",
                flush=True,
            )
        rounds = run(servers, phases, chosen.events, chosen.rounds, quiet=chosen.json)
        if chosen.grow_to:
            for name, metrics in grow(servers, chosen.events, chosen.grow_to).items():
                rounds[name].append(metrics)
    except BenchError as error:
        print(f"The bench stopped: {error}", file=sys.stderr)
        return 1
    _report(servers, rounds, as_json=chosen.json)
    return 0


def run(
    servers: Sequence[Server], phases: Sequence[str], events: int, rounds: int, *, quiet: bool = True
) -> dict[str, list[Metrics]]:
    """Every relay in turn per phase, in turned order from round to round, each round on fresh stores."""
    plan = Plan(events)
    prepare(plan, range(rounds) if any(not each.restartable for each in servers) else (0,))
    results: dict[str, list[Metrics]] = {each.name: [] for each in servers}
    for number in range(rounds):
        order = list(servers) if number % 2 == 0 else list(reversed(servers))
        with ExitStack() as stack:
            for each in order:
                stack.callback(each.stop)
                plan.fresh(each)
                results[each.name].append({"start to first EOSE": each.start() * 1000})
            for phase in phases:
                for each in order:
                    metrics = PHASES[phase](plan, each, number)
                    results[each.name][-1].update(metrics)
                    if not quiet:
                        shown = ", ".join(f"{name} {value:,.4g}" for name, value in metrics.items())
                        print(f"  round {number + 1}, {phase}, {each.name}: {shown}", flush=True)
    return results


def _report(servers: Sequence[Server], rounds: dict[str, list[Metrics]], *, as_json: bool) -> None:
    names = [each.name for each in servers]
    if as_json:
        print(
            json.dumps(
                {name: {"median": medians(rounds[name]), "rounds": rounds[name]} for name in names}, indent=1
            )
        )
        return
    print("\nmedians" + (f", and ratios of {names[0]} within rounds" if len(names) > 1 else ""))
    print(table(names, rounds, UNITS))
    for each in servers:
        if isinstance(each, OwnNode):
            judged = judge(each.mode, rounds[each.name], rounds)
            print(f"\ngoals of {each.name}")
            print("\n".join(map(str, judged)))


def _named_pid(text: str) -> tuple[str, int]:
    name, _, pid = text.rpartition("=")
    return name, int(pid)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make bench ARGS=relay",
        description=__doc__,
        epilog=TARGET,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "target", nargs="?", default="meshconsole", metavar="TARGET", help="default: meshconsole"
    )
    parser.add_argument(
        "--beside", action="append", default=[], metavar="TARGET", help="another one (repeatable)"
    )
    parser.add_argument("--events", type=int, default=100_000, help="stored events (default: 100000)")
    parser.add_argument("--rounds", type=int, default=1, help="0 for --grow-to alone")
    parser.add_argument(
        "--only", default="", metavar="PHASE,…", help=f"of {', '.join(PHASES)}; ingest always runs"
    )
    parser.add_argument("--grow-to", type=int, metavar="N", help="then ask again with so many stored events")
    parser.add_argument(
        "--pid",
        action="append",
        default=[],
        metavar="NAME=PID",
        help="process of a relay at a URL, for its CPU",
    )
    parser.add_argument("--json", action="store_true")
    return parser
