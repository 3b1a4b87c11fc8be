"""The whole product on ARM: installed in a real arm64 Debian on an emulated processor, and the demo played.

    sudo make arm64 [DIR=/var/tmp/arm64]

Debian's own packages, the hash-locked wheels for aarch64 and every program run as on a Raspberry Pi's 64-bit
system; only the processor is qemu's, and the kernel is this machine's. It takes half an hour or more. A
folder that is named is kept, and the next run begins with the Debian in it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUITE = "bookworm"
PROGRAMS = ("debootstrap", "qemu-aarch64-static", "unshare", "git")
PACKAGES_HERE = "debootstrap qemu-user-static binfmt-support"
PACKAGES = "python3,make,ca-certificates"
BINFMT = Path("/proc/sys/fs/binfmt_misc")
CERTIFICATES = Path("etc/ssl/certs/ca-certificates.crt")
READY = "meshconsole-debian-ready"
PATIENCE = "30"
PLACE = "opt/meshconsole"
ENTER = """\
set -e
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount -t tmpfs tmpfs "$1/tmp"
mount -t tmpfs tmpfs "$1/run"
exec chroot "$1" /bin/sh -c "cd /%s && $2"
"""


class Impossible(Exception):
    """What this machine lacks, and how to get it."""


def main() -> int:
    parser = argparse.ArgumentParser(description="The demo on an emulated arm64 Debian.")
    parser.add_argument("folder", nargs="?", type=Path, help="for the Debian; kept for the next run")
    folder: Path | None = parser.parse_args().folder
    try:
        prepare_machine()
    except Impossible as reason:
        print(f"arm64: not run: {reason}", file=sys.stderr)
        return 2
    place = folder or Path(tempfile.mkdtemp(prefix="meshconsole-arm64-", dir="/var/tmp"))
    try:
        make_debian(place)
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


def prepare_machine() -> None:
    """Raises Impossible. Once told to, the kernel hands programs for ARM to qemu until it is restarted."""
    if os.geteuid() != 0:
        raise Impossible("it needs root, to enter another system: sudo make arm64")
    missing = [
        name for name in ("debootstrap", "qemu-aarch64-static", "unshare") if shutil.which(name) is None
    ]
    if missing:
        raise Impossible(
            f"{', '.join(missing)} missing: apt install debootstrap qemu-user-static binfmt-support"
        )
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


def make_debian(place: Path) -> None:
    if (place / READY).exists():
        return
    began = time.monotonic()
    print(f"== Debian {SUITE} for arm64 into {place}", flush=True)
    options = ["--arch=arm64", "--foreign", "--variant=minbase", f"--include={PACKAGES}", SUITE]
    subprocess.run(["debootstrap", *options, str(place)], check=True, stdout=subprocess.DEVNULL)
    second = ["chroot", str(place), "/debootstrap/debootstrap", "--second-stage"]
    subprocess.run(second, check=True, stdout=subprocess.DEVNULL)
    (place / READY).touch()
    print(f"   {time.monotonic() - began:.0f} s", flush=True)


def copy_checkout(place: Path) -> None:
    """What is committed. The network is this machine's: its names, its certificates."""
    target = place / PLACE
    target.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(["git", "-C", str(ROOT), "archive", "HEAD"], stdout=subprocess.PIPE) as archive:
        subprocess.run(["tar", "-x", "-C", str(target)], stdin=archive.stdout, check=True)
    for name in ("etc/resolv.conf", "etc/hosts", str(CERTIFICATES)):
        shutil.copyfile(Path("/") / name, place / name)


def inside(place: Path, command: str) -> int:
    """Its mounts are in a namespace of their own and vanish with it."""
    passed = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    environment = passed | {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "PIP_CERT": f"/{CERTIFICATES}",
        "SSL_CERT_FILE": f"/{CERTIFICATES}",
    }
    enter = ["unshare", "--mount", "sh", "-c", ENTER % PLACE, "enter", str(place), command]
    return subprocess.run(enter, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
