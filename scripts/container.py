"""A Debian whose systemd is the first process of a container (systemd-nspawn), driven from outside."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.machine import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

NSPAWN = ("systemd-nspawn", "--quiet", "--boot", "--register=no", "--private-network", "--console=read-only")
ENVIRONMENT = (
    "env",
    "-i",
    "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LC_ALL=C.UTF-8",
)
WAIT_S = 180.0
LOOK_S = 0.1


class Container:
    """It has no network but its own loopback. What it says at its console goes to `log`."""

    def __init__(self, place: Path, log: Path) -> None:
        self.place = place
        self._log = log
        self._nspawn: subprocess.Popen[bytes] | None = None

    def boot(self) -> float:
        """Returns when all that starts at boot has started, or failed: after how many seconds."""
        began = time.monotonic()
        # Where no systemd runs, there is nobody to ask for a scope of cgroups.
        scope = () if Path("/run/systemd/system").exists() else ("--keep-unit",)
        with self._log.open("ab") as log:
            self._nspawn = subprocess.Popen(
                [*NSPAWN, *scope, f"--directory={self.place}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.until("its systemd", lambda: self._leader() is not None)
        self.until("its boot", lambda: self.says("systemctl is-system-running") in ("running", "degraded"))
        return time.monotonic() - began

    def off(self) -> None:
        """As with the key of a machine: what runs is told to stop first."""
        if self._nspawn is None:
            return
        self.run("systemctl poweroff", check=False)
        try:
            self._nspawn.wait(timeout=WAIT_S)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()
        self._nspawn = None

    def run(self, command: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        leader = self._leader()
        if leader is None:
            raise Failure(f"the container has ended; its last words are in {self._log}")
        enter = ["nsenter", f"--target={leader}", "--all", "--", *ENVIRONMENT, "sh", "-c", command]
        done = subprocess.run(
            enter, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WAIT_S * 5, check=False
        )
        if check and done.returncode:
            raise Failure(f"`{command}` said: {(done.stderr or done.stdout).strip()[-1500:]}")
        return done

    def says(self, command: str) -> str:
        return self.run(command, check=False).stdout.strip()

    def until(self, what: str, is_so: Callable[[], object]) -> float:
        """How many seconds it took."""
        began = time.monotonic()
        while not is_so():
            if time.monotonic() > began + WAIT_S:
                raise Failure(f"{what} did not come within {WAIT_S:.0f} s")
            time.sleep(LOOK_S)
        return time.monotonic() - began

    def _leader(self) -> int | None:
        """The first process of the container, once it is one of its own."""
        if self._nspawn is None or self._nspawn.poll() is not None:
            return None
        number = self._nspawn.pid
        for child in Path(f"/proc/{number}/task/{number}/children").read_text().split():
            try:
                apart = Path(f"/proc/{child}/ns/pid").readlink() != Path("/proc/self/ns/pid").readlink()
                if apart and Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return int(child)
            except OSError:
                continue  # it was the one that only prepares
        return None
