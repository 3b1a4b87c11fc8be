"""Sets up a virtual environment from a lock. Needs nothing but Python's standard library.

    python3 scripts/bootstrap.py product|web|dev|fuzz|lock|docs [--venv .venv]

The law of this file: `.venv` is a symbolic link that only ever points at a complete environment.
Each environment is built in `.venvs/<lock>-<key>`, where the key covers the lock, the interpreter
and the place of the checkout; it is marked ready last, and then the link is swapped in one step. A
set-up that is interrupted, or that fails, leaves what worked before.

Packages are checked against the lock's hashes and ready-made (no compiler, no build step). They come
through one pinned pip wheel, fetched and checked here, since Debian's python3 brings no pip.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILDS = ROOT / ".venvs"
LOCKS = {
    "product": ("product.txt",),
    "web": ("web.txt",),
    "dev": ("dev.txt",),
    "fuzz": ("dev.txt", "fuzz.txt"),
    "lock": ("lock.txt",),
    "docs": ("docs.txt",),
}
SATISFIED_BY = {
    "product": ("product", "web", "dev"),
    "web": ("web", "dev"),
    "dev": ("dev",),
    "fuzz": ("fuzz",),
    "lock": ("lock",),
    "docs": ("docs",),
}
READY = "meshconsole-ready"
OLDEST = (3, 11)

PIP_WHEEL = "pip-26.3-py3-none-any.whl"
PIP_SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"


def main(arguments: list[str]) -> int:
    if sys.version_info < OLDEST:
        return _hand_over_to_newer_python(arguments)
    kind, link = _parse(arguments)
    if is_ready(kind, link):
        return 0
    try:
        _set_up(kind, link)
    except SetupFailed as failure:
        print(f"meshconsole set-up: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nmeshconsole set-up: interrupted; nothing was changed. Run it again.", file=sys.stderr)
        return 130
    return 0


class SetupFailed(Exception):
    """Says what happened and what to do, in words for the person at the keyboard."""


def is_ready(kind: str, link: Path) -> bool:
    """True if `link` points at a complete environment that serves `kind`. Takes milliseconds."""
    try:
        target = Path(os.readlink(link)).name
    except OSError:
        return False
    return any(
        target == _build_name(other) and (BUILDS / target / READY).is_file() for other in SATISFIED_BY[kind]
    )


def _parse(arguments: list[str]) -> tuple[str, Path]:
    import argparse

    parser = argparse.ArgumentParser(description="Set up meshconsole's virtual environment.")
    parser.add_argument("kind", choices=sorted(LOCKS))
    parser.add_argument("--venv", default=".venv", help="the link to make, within the checkout")
    chosen = parser.parse_args(arguments)
    return chosen.kind, ROOT / chosen.venv


def _build_name(kind: str) -> str:
    """The folder of the environment for this lock, this interpreter and this place."""
    import hashlib

    digest = hashlib.sha256(Path(__file__).read_bytes())
    for lock in LOCKS[kind]:
        digest.update((ROOT / "requirements" / lock).read_bytes())
    digest.update(f"{sys.version}|{sys.base_prefix}|{ROOT}".encode())
    return f"{kind}-{digest.hexdigest()[:16]}"


def _set_up(kind: str, link: Path) -> None:
    import fcntl

    _refuse_unsuitable_machine()
    BUILDS.mkdir(exist_ok=True)
    with (BUILDS / ".busy").open("w") as busy:
        try:
            fcntl.flock(busy, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another set-up is running; waiting for it.", flush=True)
            fcntl.flock(busy, fcntl.LOCK_EX)
        if is_ready(kind, link):
            return
        build = BUILDS / _build_name(kind)
        if not (build / READY).is_file():
            _build(kind, build, busy.fileno())
        _point(link, build)
        _remove_unused()


def _refuse_unsuitable_machine() -> None:
    import platform
    import struct

    if struct.calcsize("P") < 8:
        raise SetupFailed(
            f"this is a 32-bit Python ({platform.machine()}); meshconsole's packages exist for 64-bit"
            " systems only. On a Raspberry Pi, install the 64-bit Raspberry Pi OS."
        )


def _build(kind: str, build: Path, lock_fd: int) -> None:
    import shutil
    import time

    started = time.monotonic()
    print(f"Setting up meshconsole ({kind}) with Python {sys.version.split()[0]}. Once only.", flush=True)
    try:
        if build.exists():  # what an interrupted set-up left
            shutil.rmtree(build)
        python = _make_environment(build)
        for lock in LOCKS[kind]:
            _install(_pip(python), ROOT / "requirements" / lock, lock_fd)
        if kind != "lock":
            _install_checkout(build)
        os.sync()  # a power cut must not leave a ready mark over files that never reached the card
        (build / READY).write_text("complete\n")
    except OSError as error:
        raise SetupFailed(f"{error.strerror or error}: {error.filename or build}") from error
    print(f"Ready after {time.monotonic() - started:.0f} s.", flush=True)


def _make_environment(build: Path) -> Path:
    try:
        import venv
    except ImportError as error:
        raise SetupFailed(
            "this Python has no 'venv' module. Install it: sudo apt install python3-venv"
        ) from error
    venv.EnvBuilder(symlinks=True, with_pip=False).create(build)
    return build / "bin" / "python"


def _pip(python: Path) -> list[str]:
    """The command that runs pip for the new environment: the pinned one, so that all machines use the same.

    What Python brings (Debian keeps it in a package of its own) serves where the index lacks the pinned one.
    """
    import subprocess

    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from scripts import fetch_pip

    try:
        return [str(python), "-I", str(fetch_pip.pinned_wheel(BUILDS, PIP_WHEEL, PIP_SHA256) / "pip")]
    except fetch_pip.FetchFailed as failure:
        brought = subprocess.run(
            [str(python), "-I", "-m", "ensurepip"], env=_environment(), capture_output=True, check=False
        )
        if brought.returncode:
            raise SetupFailed(str(failure)) from failure
        return [str(python), "-I", "-m", "pip"]


def _environment() -> dict[str, str]:
    """The caller's environment without what would send packages elsewhere than to the new venv."""
    unwanted = {"PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_REQUIREMENT"}
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    kept.update(PIP_USER="0", PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1")
    return kept


def _install(pip: list[str], lock: Path, lock_fd: int) -> None:
    """pip holds the lock too, so that one left behind by a killed set-up ends before the next begins."""
    import subprocess

    command = [*pip, "install", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command += ["--no-warn-script-location", "--progress-bar", "off", "-r", str(lock)]
    log = BUILDS / "pip.log"
    with log.open("w") as record:
        process = subprocess.Popen(
            command,
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            pass_fds=[lock_fd],
        )
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                record.write(line)
                _show_progress(line)
    if process.returncode:
        raise SetupFailed(_diagnosis(log.read_text()) + f" pip's own words are in {log}.")


def _show_progress(line: str) -> None:
    words = line.split()
    if sys.stdout.isatty():
        if len(words) > 1 and words[0] == "Collecting":
            print(f"\r\033[K  getting {words[1].partition('==')[0]}", end="", flush=True)
        elif words[:2] == ["Installing", "collected"]:
            print("\r\033[K  installing", flush=True)


_CAUSES = (
    ("No space left on device", "the disk is full. Free about 600 MB."),
    (
        "DO NOT MATCH THE HASHES",
        "a package differs from the lock, so it was not installed. Try again;"
        " if it stays so, the index or the path to it cannot be trusted.",
    ),
    ("not yet valid", "the index's certificate is not valid yet: this machine's clock is wrong. Set it."),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "the index's certificate cannot be checked. Is the clock right, and is"
        " the package 'ca-certificates' installed?",
    ),
    ("Temporary failure in name resolution", "@network"),
    ("Name or service not known", "@network"),
    ("NewConnectionError", "@network"),
    ("Failed to establish a new connection", "@network"),
    ("Network is unreachable", "@network"),
    ("ConnectTimeoutError", "@network"),
    ("ReadTimeoutError", "@network"),
    ("ProxyError", "the proxy did not let the download through. Check https_proxy."),
    (
        "No matching distribution found",
        "the index, or the folder of wheels, lacks a ready-made package for this machine and Python."
        " 64-bit Linux (x86-64 or ARM) with Python 3.11 to 3.13 is known to work.",
    ),
)
_NO_NETWORK = (
    "no network: the package index cannot be reached. The first set-up needs it once, for about 25 MB;"
    " afterwards meshconsole needs none. (A folder of wheels on a stick works too: set PIP_NO_INDEX=1"
    " and PIP_FIND_LINKS=/path/to/wheels.)"
)


def _diagnosis(output: str) -> str:
    for mark, cause in _CAUSES:
        if mark in output:
            missing = output.partition(mark + " for ")[2].split()
            named = f" (It is {missing[0]} that is missing.)" if missing else ""
            return _NO_NETWORK if cause == "@network" else cause + named
    last = next((line for line in reversed(output.splitlines()) if line.strip()), "no output")
    return f"pip failed: {last.strip()}."


def _install_checkout(build: Path) -> None:
    """Makes `import meshconsole` and the `meshconsole` command work from the checkout itself."""
    import sysconfig

    layout = {"base": str(build), "platbase": str(build)}
    site = Path(sysconfig.get_path("purelib", "venv", layout))
    (site / "meshconsole-checkout.pth").write_text(f"{ROOT}\n")
    command = build / "bin" / "meshconsole"
    # Started by sh, because a #! line can hold neither a space nor more than 127 characters.
    command.write_text(
        "#!/bin/sh\n"
        f'\'\'\'exec\' "{build}/bin/python" "$0" "$@"\n'
        "'''\n"
        "import sys\n"
        "from meshconsole.cli.main import main\n"
        "sys.exit(main())\n"
    )
    command.chmod(0o755)


def _point(link: Path, build: Path) -> None:
    """Swaps the link in one step. A real folder of that name is moved aside, never removed."""
    if link.is_dir() and not link.is_symlink():
        aside = link.with_name(link.name + "-before")
        if aside.exists():
            raise SetupFailed(f"{link} was not made by this set-up. Move or remove it, then run again.")
        link.rename(aside)
        print(f"Moved the {link.name} that was here to {aside.name}.", flush=True)
    fresh = link.with_name(link.name + ".new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(os.path.relpath(build, link.parent))
    fresh.replace(link)


def _remove_unused() -> None:
    """A link points at those that stay, or a program runs in them: it loads modules as it needs them."""
    import shutil

    used = {Path(os.readlink(entry)).name for entry in ROOT.glob(".venv*") if entry.is_symlink()}
    for build in BUILDS.iterdir():
        if build.is_dir() and build.name not in used and not _runs_in(build):
            shutil.rmtree(build, ignore_errors=True)


def _runs_in(build: Path) -> bool:
    """Some process of this machine has a library of `build` in its memory, as /proc tells."""
    inside = f" {build}/".encode()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            if inside in maps.read_bytes():
                return True
        except OSError:  # it has ended, or is somebody else's
            continue
    return False


def _hand_over_to_newer_python(arguments: list[str]) -> int:
    import shutil
    import subprocess

    for minor in (13, 12, 11):
        python = shutil.which("python3." + str(minor))
        if python:
            return subprocess.call([python, __file__, *arguments])
    print(
        "meshconsole set-up: Python 3.11 or newer is needed; this is "
        + sys.version.split()[0]
        + ". Debian 12 and Raspberry Pi OS 12 bring it. Another one: make run PYTHON=/path/to/python3",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
