"""A Debian of its own in a folder, with this checkout in it: what the runs on other systems begin with.

The packages, the processes and the folders are Debian's; the kernel and the network are this machine's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACE = "opt/meshconsole-checkout"
CERTIFICATES = Path("etc/ssl/certs/ca-certificates.crt")
READY = "meshconsole-debian-ready"
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


def need(programs: tuple[str, ...], packages: str, target: str) -> None:
    """Raises Impossible where there is no root or a program is missing."""
    if os.geteuid() != 0:
        raise Impossible(f"it needs root, to enter another system: sudo make {target}")
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        raise Impossible(f"{', '.join(missing)} missing: apt install {packages}")


def make_debian(place: Path, suite: str, packages: str, *, foreign: str = "") -> None:
    """Nothing where it was made before. `foreign` names another processor's architecture."""
    if (place / READY).exists():
        return
    began = time.monotonic()
    print(f"== Debian {suite}{foreign and f' for {foreign}'} into {place}", flush=True)
    options = ["--variant=minbase", f"--include={packages}"]
    if foreign:
        options += [f"--arch={foreign}", "--foreign"]
    subprocess.run(["debootstrap", *options, suite, str(place)], check=True, stdout=subprocess.DEVNULL)
    if foreign:
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
    """In the checkout's copy. Its mounts are in a namespace of their own and vanish with it."""
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
