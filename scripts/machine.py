"""One home and its node, driven from outside as a user would: commands, processes, the control socket.

Shared by the demo, the benchmarks and the end-to-end tests.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from meshconsole.control.blocking import call, stream
from meshconsole.control.files import BlobsData, ListBlobs
from meshconsole.control.messages import EventsData, EventsPush, GetStatus, ListEvents, StatusData, Subscribe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from meshconsole.control.messages import Command

D = TypeVar("D")

COMMAND = [sys.executable, "-m", "meshconsole"]
PASSPHRASE = "a demo passphrase"
PATIENCE = float(os.environ.get("MESHCONSOLE_PATIENCE", "1"))
"""How many times longer everything may take than usual: for a machine that is emulated."""
WAIT_S = 30.0 * PATIENCE
LOOK_S = 0.1
PORTS = range(20_000, 32_000)
"""Below those that the system gives away itself, so that a node finds its own free when it starts again."""


class Failure(Exception):
    """A step did not do what it promises."""


class Machine:
    """One home and, while it runs, its node process."""

    def __init__(
        self,
        folder: Path,
        name: str,
        passphrase: str | None = PASSPHRASE,
        *,
        within: tuple[str, ...] = (),
        listen: str = "",
    ) -> None:
        """Without a passphrase the home opens with its key file, which takes less time.

        `within` stands before the node's command and must end by becoming it: `ip netns exec NAME`.
        Unless told where to `listen`, it takes a port of this machine, and keeps it when it starts again.
        """
        self.name = name
        self._within = within
        self.listen = listen or f"127.0.0.1:{free_port()}"
        self.environment = dict(os.environ)
        self.environment.pop("MESHCONSOLE_PASSPHRASE", None)
        if passphrase is not None:
            self.environment["MESHCONSOLE_PASSPHRASE"] = passphrase
        self.home = folder / name
        self.log = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.address = ""

    def command(
        self, *arguments: str, check: bool = True, given: str = "", within_s: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """`given` is what the command reads from its standard input."""
        done = subprocess.run(
            [*COMMAND, *arguments, "--home", str(self.home)],
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=within_s * PATIENCE,
            check=False,
        )
        if "Traceback" in done.stderr:
            raise Failure(f"a traceback reached the user:\n{done.stderr}")
        if check and done.returncode:
            raise Failure(f"`meshconsole {' '.join(arguments)}` said: {done.stderr.strip()}")
        return done

    def json(self, *arguments: str) -> Any:  # noqa: ANN401 - whatever the command prints
        return json.loads(self.command(*arguments, "--json").stdout)

    def start(self, *settings: str, more: tuple[str, ...] = ()) -> None:
        """`more` are further options of `meshconsole node`."""
        read_end, write_end = os.pipe()
        options = [option for setting in settings for option in ("--set", setting)]
        where = ("--home", str(self.home), "--listen", self.listen)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._within, *COMMAND, "node", *where, *options, *more, "--ready-fd", str(write_end)],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(write_end,),
            )
        os.close(write_end)
        with open(read_end) as ready:
            words = ready.readline().split()
        if words[:1] != ["ready"]:
            raise Failure(f"node {self.name} did not start:\n{self.log.read_text()}")
        self.address = words[1]

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(timeout=10 * PATIENCE)
            self.process = None

    def peer_paths(self) -> dict[str, str]:
        """Path -> key-exchange group of the live links to the first peer."""
        peers = self.json("status")["peers"]
        return {link["path"]: link["group"] or link["channel"] for peer in peers for link in peer["links"]}

    def texts(self) -> list[str]:
        """Of the newest events, oldest first."""
        return [event.text for event in self._ask(ListEvents(), EventsData).events]

    def cids(self) -> list[str]:
        """Of the files that it knows."""
        return [blob.cid for blob in self._ask(ListBlobs(), BlobsData).blobs]

    def wait(self, what: str, ready: Callable[[dict[str, Any]], bool], within_s: float = WAIT_S) -> None:
        """Until its status satisfies `ready`. It is asked for, since what merely drifts is pushed seldom."""
        deadline = time.monotonic() + within_s
        while not ready(self._status()):
            if time.monotonic() > deadline:
                said = self.log.read_text()[-3000:]
                raise Failure(f"{self.name}: {what} did not happen within {within_s:.0f} s\n{said}")
            time.sleep(LOOK_S)

    def _status(self) -> dict[str, Any]:
        status: dict[str, Any] = msgspec.to_builtins(self._ask(GetStatus(), StatusData).status)
        return status

    def _ask(self, command: Command, kind: type[D]) -> D:
        """Without a process for the command, which takes more time than its answer."""
        reply = call(self.home / "control.sock", command).or_raise()
        if not isinstance(reply.data, kind):
            raise Failure(f"{self.name} answered {command} with {reply.data}")
        return reply.data


def free_port() -> int:
    """One that nobody uses at this moment, drawn by the system's own chance: test runs share a seed."""
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Failure("no port is free")


class Listener:
    """A console that is attached before a note is sent, so that arrival is timed, not polled."""

    def __init__(self, machine: Machine) -> None:
        self._pushes = stream(machine.home / "control.sock", Subscribe(fps=10, events=True, blobs=False))
        next(self._pushes)

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + WAIT_S
        for push in self._pushes:
            if isinstance(push, EventsPush) and any(text in event.text for event in push.events):
                return
            if time.monotonic() > deadline:
                break
        raise Failure(f"{text!r} did not arrive")
