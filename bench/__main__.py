"""Runs the measurements one after the other, so that they do not disturb each other."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from importlib import import_module

from bench.figures import Figure, as_json

GROUPS = (
    "commands",
    "starting",
    "memory",
    "size",
    "console",
    "relay",
    "store",
    "postgres",
    "notes",
    "content",
    "transfer",
    "files",
    "libp2p",
    "trust",
    "mesh",
    "hub",
    "busy",
    "sync",
)


def main() -> int:
    if sys.argv[1:2] == ["relay"]:
        from bench.relay.command import main as relay

        return relay(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)} (default: all)")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    unknown = set(chosen.groups) - set(GROUPS)
    if unknown:
        parser.error(f"there is no group {', '.join(sorted(unknown))}; they are {', '.join(GROUPS)}")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what is measured has its byte code, as if installed
    results: list[tuple[str, list[Figure]]] = []
    if not chosen.json:
        print(f"{_machine()}, load {os.getloadavg()[0]:.1f}", flush=True)
    for name in chosen.groups or GROUPS:
        began = time.monotonic()
        figures = import_module(f"bench.{name}").measure()
        results.append((name, figures))
        if not chosen.json:
            print(f"\n{name}  ({time.monotonic() - began:.0f} s)")
            print("\n".join(map(str, figures)), flush=True)
    if chosen.json:
        print(as_json(results))
    return 0


def _machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
