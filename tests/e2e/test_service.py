"""A node under a service manager: it says when it is ready, lives, reads its settings again and stops."""

from __future__ import annotations

import json
import queue
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from scripts.machine import PASSPHRASE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from scripts.machine import Machine
    from tests.homes import Homes

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


class Manager:
    """Takes each message as it comes, as systemd does: the kernel keeps ten for who does not."""

    def __init__(self, channel: socket.socket) -> None:
        self.address = str(channel.getsockname())
        self._channel = channel
        self._messages: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen(self) -> None:
        while message := self._channel.recv(4096):
            self._messages.put(message.decode())

    def heard(self, line: str) -> dict[str, str]:
        """The next message that begins with `line`, by name."""
        while True:
            message = self._messages.get(timeout=60)
            if message.startswith(line):
                return dict(part.split("=", 1) for part in message.splitlines())


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        manager = Manager(channel)
        listening = threading.Thread(target=manager.listen)
        listening.start()
        yield manager
        channel.shutdown(socket.SHUT_RD)
        listening.join()


def test_it_is_ready_lives_and_stops(
    machine: Callable[[str], Machine], manager: Manager, init: Homes
) -> None:
    node = machine("alpha")
    init(node, "--team", "Falcon")
    node.environment |= {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "400000"}
    node.start()
    assert manager.heard("READY=1")["STATUS"] == f"serving on {node.address}"
    assert manager.heard("WATCHDOG=1")["STATUS"].startswith("0 peers linked, ")
    node.command("status")  # a command of the same user must not speak for the node
    assert node.process is not None
    node.process.send_signal(signal.SIGHUP)
    assert int(manager.heard("RELOADING=1")["MONOTONIC_USEC"]) > 0
    assert manager.heard("READY=1")["STATUS"].startswith("The configuration was read again")
    node.process.send_signal(signal.SIGTERM)
    manager.heard("STOPPING=1")
    assert node.process.wait(timeout=5) == 0


def test_a_locked_node_is_ready_too_and_a_reload_does_not_end_it(
    machine: Callable[..., Machine], manager: Manager, init: Homes
) -> None:
    node = machine("alpha", passphrase=PASSPHRASE)
    init(node)
    environment = node.environment | {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "400000"}
    del environment["MESHCONSOLE_PASSPHRASE"]
    locked = subprocess.Popen(
        [sys.executable, "-m", "meshconsole", "node", "--home", str(node.home), "--listen", "127.0.0.1:0"],
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    try:
        assert "meshconsole unlock" in manager.heard("READY=1")["STATUS"]
        locked.send_signal(signal.SIGHUP)
        manager.heard("WATCHDOG=1")
        assert locked.poll() is None
        node.command("unlock")
        assert manager.heard("READY=1")["STATUS"].startswith("serving on ")
        locked.send_signal(signal.SIGTERM)
        assert locked.wait(timeout=5) == 0
    finally:
        locked.kill()
        locked.wait()


def test_an_invite_in_a_file_lets_a_headless_node_in(
    tmp_path: Path, alpha: Machine, machine: Callable[[str], Machine], init: Homes
) -> None:
    pi = machine("pi")
    init(pi)
    invite = tmp_path / "invite"
    invite.write_text(json.loads(alpha.command("team", "invite", "--role", "relay", "--json").stdout)["text"])
    pi.start(more=("--invite-file", str(invite)))
    pi.wait("joining", lambda status: status["team"] is not None and status["team"]["role"] == "relay")
    pi.wait("a link", lambda status: any(peer["links"] for peer in status["peers"]))
    pi.wait("the wiping", lambda _: not invite.exists())  # it may be linked a moment before
