"""The relays that are compared: our own node as it is shipped, any start command, or any URL."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

from bench.nodes import OPEN, pid_of
from bench.relay.wire import BenchError, Wire, frame
from scripts.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable

OWN = "meshconsole"
MODES = ("saver", "balanced", "full")
START_S = 60.0
PATIENCE_S = 5.0
"""For a relay that is said to run."""
ROOMY = ("limits.max_connections=4000", "limits.max_storage_mb=100000")
_POLL_S = 0.002


class Memory(NamedTuple):
    """In MB."""

    rss: float
    uss: float
    rss_below: float
    """Of the processes below the relay's, which the figures before hold too."""
    uss_below: float

    def metrics(self, moment: str) -> dict[str, float]:
        """With what the first process alone holds, where there are others below it."""
        found = {f"RSS {moment}": self.rss, f"USS {moment}": self.uss}
        if self.rss_below:
            found |= {
                f"RSS {moment}, first process": self.rss - self.rss_below,
                f"RSS {moment}, those below it": self.rss_below,
                f"USS {moment}, those below it": self.uss_below,
            }
        return found


class Server:
    """A relay. `url` is valid while it runs; CPU and memory are those of its process and all below it."""

    restartable = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.url = ""
        self.pid: int | None = None

    def start(self) -> float:
        """Seconds until the first EOSE."""
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def cpu_s(self) -> float:
        """Used so far; NaN where the process is not known."""
        if self.pid is None:
            return float("nan")
        return sum(_cpu_s(process) for process in self._tree())

    def memory(self) -> Memory:
        if self.pid is None:
            return Memory(*4 * [float("nan")])
        held = [process.memory_full_info() for process in self._tree()]
        rss, uss = [each.rss / 1e6 for each in held], [each.uss / 1e6 for each in held]
        return Memory(sum(rss), sum(uss), sum(rss[1:]), sum(uss[1:]))

    def _tree(self) -> list[psutil.Process]:
        process = psutil.Process(self.pid)
        return [process, *process.children(recursive=True)]


class OwnNode(Server):
    """A real `meshconsole node`: encrypted store, durable acknowledgements, open to strangers, unlimited."""

    def __init__(self, name: str, mode: str) -> None:
        super().__init__(name)
        self.mode = mode
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._node: Machine | None = None

    def start(self) -> float:
        self._folder = tempfile.TemporaryDirectory(prefix="meshconsole-bench-")
        self._node = Machine(Path(self._folder.name), "alpha", passphrase=None)
        self._node.command("init", "--yes", "--name", "alpha", "--team", "Falcon")
        began = time.perf_counter()
        self._node.start(*OPEN, *ROOMY, f"limits.performance_mode={self.mode}")
        self.url, self.pid = f"ws://{self._node.address}", pid_of(self._node)
        _first_answer(self.url)
        return time.perf_counter() - began

    def stop(self) -> None:
        if self._node is not None:
            with suppress(subprocess.TimeoutExpired):
                self._node.kill(signal.SIGTERM)
            self._node.kill()
        if self._folder is not None:
            self._folder.cleanup()


class Started(Server):
    """A command with {port} and {dir} in it, for instance a script that writes a configuration there."""

    def __init__(self, name: str, command: str) -> None:
        super().__init__(name)
        self._command = command
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        self._folder = tempfile.TemporaryDirectory(prefix="relay-bench-")
        port = _free_port()
        words = shlex.split(self._command.format(port=port, dir=self._folder.name))
        log = Path(self._folder.name) / "bench.log"
        began = time.perf_counter()
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder.name,
                process_group=0,  # not a session of its own, which a scheduler may favour as a whole
            )
        self.url, self.pid = f"ws://127.0.0.1:{port}", self._process.pid
        try:
            _first_answer(self.url, alive=lambda: self._process is not None and self._process.poll() is None)
        except BenchError as error:
            raise BenchError(f"{error}\n{log.read_text(errors='replace')[-2000:]}") from None
        return time.perf_counter() - began

    def stop(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        if self._folder is not None:
            self._folder.cleanup()


class Running(Server):
    """A relay that runs already. It must hold nothing; each round adds events of its own."""

    restartable = False

    def __init__(self, name: str, url: str, pid: int | None) -> None:
        super().__init__(name)
        self.url, self.pid = url, pid

    def start(self) -> float:
        _first_answer(self.url, PATIENCE_S)
        return float("nan")

    def stop(self) -> None:
        """It was not ours to start."""


def server(text: str, pids: dict[str, int]) -> Server:
    """From `[NAME=]ws://…`, `[NAME=]meshconsole[:MODE]` or `[NAME=]COMMAND with {port} and {dir}`."""
    named = re.match(r"([\w.-]+)=(?!=)(.*)", text, re.DOTALL)
    name, what = (named[1], named[2]) if named else ("", text)
    if what.startswith("ws://"):
        name = name or what.removeprefix("ws://").rstrip("/")
        return Running(name, what, pids.get(name))
    own, _, mode = what.partition(":")
    if own == OWN:
        mode = mode or "balanced"
        if mode not in MODES:
            raise BenchError(f"there is no mode {mode}; they are {', '.join(MODES)}")
        return OwnNode(name or f"{OWN} {mode}", mode)
    if "{port}" not in what:
        raise BenchError(f"{what!r} is neither a ws:// address, nor {OWN}, nor a command with {{port}} in it")
    return Started(name or Path(shlex.split(what)[0]).name, what)


def _first_answer(url: str, within_s: float = START_S, alive: Callable[[], bool] = lambda: True) -> None:
    """Until the relay has answered its first REQ with EOSE."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            wire = Wire(url)
            break
        except OSError as error:
            if not alive():
                raise BenchError("the relay ended before it listened") from None
            if time.monotonic() > deadline:
                raise BenchError(f"nothing answers at {url}: {error}") from None
            time.sleep(_POLL_S)
    wire.socket.setblocking(True)
    wire.socket.settimeout(START_S)
    wire.send(frame(b'["REQ","first",{"kinds":[1],"limit":1}]'))
    heard = b""
    while b'["EOSE"' not in heard:
        heard += wire.receive()
    wire.close()


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
