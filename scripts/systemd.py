"""What the system service promises, seen under a real systemd: the first process of a container with Debian.

    sudo make systemd [DIR=/var/tmp/systemd] [ARGS="--suite trixie"]

Installed as the guide says (`deploy/install`), and then each promise is put to the test, two boots with an
invite on the boot partition included. A minute of it is the watchdog's. A folder that is named is
kept, and the next run begins with the Debian in it. Writes docs/service.md from what was seen, when
all of it went well.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.container import Container
from scripts.debian import PLACE, ROOT, Impossible, copy_checkout, inside, make_debian, need
from scripts.machine import Failure
from scripts.service_walk import NotHere, Walk

if TYPE_CHECKING:
    from collections.abc import Iterable

PROGRAMS = ("debootstrap", "systemd-nspawn", "nsenter", "unshare", "git")
PACKAGES_HERE = "debootstrap systemd-container util-linux git"
PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,make,ca-certificates,procps"
WHEELS = "opt/wheels"
PAGE = ROOT / "docs" / "service.md"

HEAD = """# The system service, as seen

What [the guide](operator.md#as-a-system-service) promises of `deploy/systemd` and `deploy/install`, each put
to the test under a real systemd by `make systemd` (root; ten minutes), which writes this page.
{machine} Two processors did other things
besides.

| promised | seen |
|---|---|
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="The system service under a real systemd.")
    parser.add_argument("--suite", default="bookworm", help="of Debian; trixie has systemd 257")
    parser.add_argument("--page", type=Path, default=PAGE, help="where the table goes")
    parser.add_argument("folder", nargs="?", type=Path, help="for the Debian; kept for the next run")
    chosen = parser.parse_args()
    try:
        need(PROGRAMS, PACKAGES_HERE, "systemd")
    except Impossible as reason:
        print(f"systemd: not run: {reason}", file=sys.stderr)
        return 2
    place = chosen.folder or Path(tempfile.mkdtemp(prefix="meshconsole-systemd-", dir="/var/tmp"))
    place.mkdir(parents=True, exist_ok=True)
    try:
        prepare(place / "debian", chosen.suite)
        return play(Container(place / "debian", place / "console.log"), chosen.page)
    except Failure as failure:
        print(f"systemd: FAILED: {failure}", file=sys.stderr)
        return 1
    finally:
        if chosen.folder is None:
            shutil.rmtree(place, ignore_errors=True)


def prepare(place: Path, suite: str) -> None:
    """A Debian that has of meshconsole a checkout alone, and the wheels for a set-up without network."""
    make_debian(place, suite, PACKAGES)
    for left in ("var/lib/meshconsole", "opt", "boot/firmware", "etc/default/meshconsole", "srv"):
        subprocess.run(["rm", "-rf", str(place / left)], check=True)
    for pattern in ("etc/systemd/system/**/*.service", "etc/credstore.encrypted/*"):
        for file in place.glob(pattern):
            if file.name.startswith(("meshconsole", "alpha")):
                file.unlink()
    copy_checkout(place)
    print("== wheels for a set-up without network", flush=True)
    if inside(place, f"make product wheels DIR=/{WHEELS} && rm -rf .venv .venvs"):
        raise Failure("the wheels could not be collected")


def play(container: Container, page: Path) -> int:
    seen: list[tuple[str, str]] = []
    walk = Walk(container, f"/{PLACE}", f"/{WHEELS}")
    try:
        container.boot()
        machine = walk.machine()
        print(machine, flush=True)
        for promise, step in walk.steps():
            began = time.monotonic()
            try:
                observed = step()
            except NotHere as reason:
                observed = f"NOT SEEN: {reason}"
            print(f"{time.monotonic() - began:6.1f} s  {promise}: {observed}", flush=True)
            seen.append((promise, observed))
    except (Failure, subprocess.TimeoutExpired) as failure:
        print(f"systemd: FAILED: {failure}\n{walk.last_words()}", file=sys.stderr)
        return 1
    finally:
        container.off()
    page.write_text(HEAD.format(machine=machine) + "".join(rows(seen)))
    print(f"{len(seen)} promises looked at; written to {page}")
    return 0


def rows(seen: Iterable[tuple[str, str]]) -> Iterable[str]:
    for promise, observed in seen:
        cell = observed.replace("|", "\\|")
        yield f"| {promise} | {cell} |\n"


if __name__ == "__main__":
    sys.exit(main())
