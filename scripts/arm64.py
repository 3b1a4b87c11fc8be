"""The whole product on ARM: installed in a real arm64 Debian on an emulated processor, and the demo played.

    sudo make arm64 [DIR=/var/tmp/arm64]

Debian's own packages, the hash-locked wheels for aarch64 and every program run as on a Raspberry Pi's 64-bit
system; only the processor is qemu's, and the kernel is this machine's. It takes half an hour or more. A
folder that is named is kept, and the next run begins with the Debian in it.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scripts.debian import Impossible, copy_checkout, inside, make_debian, need

SUITE = "bookworm"
PROGRAMS = ("debootstrap", "qemu-aarch64-static", "unshare", "git")
PACKAGES_HERE = "debootstrap qemu-user-static binfmt-support git"
PACKAGES = "python3,make,ca-certificates"
BINFMT = Path("/proc/sys/fs/binfmt_misc")
PATIENCE = "30"


def main() -> int:
    parser = argparse.ArgumentParser(description="The demo on an emulated arm64 Debian.")
    parser.add_argument("folder", nargs="?", type=Path, help="for the Debian; kept for the next run")
    folder: Path | None = parser.parse_args().folder
    try:
        need(PROGRAMS, PACKAGES_HERE, "arm64")
        emulate()
    except Impossible as reason:
        print(f"arm64: not run: {reason}", file=sys.stderr)
        return 2
    place = folder or Path(tempfile.mkdtemp(prefix="meshconsole-arm64-", dir="/var/tmp"))
    try:
        make_debian(place, SUITE, PACKAGES, foreign="arm64")
        copy_checkout(place)
        for title, command in (
            ("machine", "uname -m && python3 --version"),
            ("install: aarch64 wheels, checked against the lock", "make product"),
            ("install of the demo's own tools", "make dev"),
            ("demo", f"MESHCONSOLE_PATIENCE={PATIENCE} make demo"),
        ):
            began = time.monotonic()
            print(f"== {title}", flush=True)
            if inside(place, command):
                print(f"arm64: FAILED: {title}", file=sys.stderr)
                return 1
            print(f"   {time.monotonic() - began:.0f} s", flush=True)
        return 0
    finally:
        if folder is None:
            shutil.rmtree(place, ignore_errors=True)


def emulate() -> None:
    """Raises Impossible. Once told to, the kernel hands programs for ARM to qemu until it is restarted."""
    if not (BINFMT / "status").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "none", str(BINFMT)], check=False, capture_output=True)
    if not _emulates() and shutil.which("update-binfmts"):
        subprocess.run(["update-binfmts", "--enable", "qemu-aarch64"], check=False, capture_output=True)
    if not _emulates():
        raise Impossible(
            "the kernel does not hand ARM programs to qemu: apt install binfmt-support, then again"
        )


def _emulates() -> bool:
    """With F the kernel has opened qemu already, so that it is found inside of another system too."""
    try:
        told = (BINFMT / "qemu-aarch64").read_text()
    except OSError:
        return False
    return told.startswith("enabled") and any(
        "F" in line for line in told.splitlines() if line.startswith("flags:")
    )


if __name__ == "__main__":
    sys.exit(main())
