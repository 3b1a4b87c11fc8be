"""What a service manager is told (sd_notify(3)), on a real datagram socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from meshconsole.node.service_manager import ServiceManager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(5)
        yield channel


def test_it_is_told_once_the_node_serves(heard: socket.socket) -> None:
    ServiceManager(heard.getsockname()).ready("serving on 127.0.0.1:7447")
    assert heard.recv(1000) == b"READY=1\nSTATUS=serving on 127.0.0.1:7447"


def test_what_this_process_starts_cannot_speak_for_it(heard: socket.socket) -> None:
    environment = {"NOTIFY_SOCKET": heard.getsockname(), "WATCHDOG_USEC": "60000000", "HOME": "/root"}
    manager = ServiceManager.of_process(environment, pid=7)
    assert environment == {"HOME": "/root"}
    assert manager.watchdog_s == 60


def test_a_watchdog_that_is_meant_for_another_process_is_not_fed() -> None:
    environment = {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "8"}
    assert ServiceManager.of_process(environment, pid=7).watchdog_s == 0


def test_what_peers_chose_to_be_called_says_nothing_to_the_manager(heard: socket.socket) -> None:
    ServiceManager(heard.getsockname()).ready("linked to eve\nSTOPPING=1\x1b[2J")
    assert heard.recv(1000).startswith(b"READY=1\nSTATUS=linked to eve STOPPING=1")


def test_it_is_told_of_a_reload_by_the_clock_that_it_asks_for(heard: socket.socket) -> None:
    ServiceManager(heard.getsockname()).reloading(1_234_567_890)
    assert heard.recv(1000) == b"RELOADING=1\nMONOTONIC_USEC=1234567"


def test_without_a_service_manager_nothing_happens() -> None:
    ServiceManager.of_process({}, pid=7).ready("serving")


def test_an_abstract_address_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("")  # the kernel picks a free abstract name
        channel.settimeout(5)
        ServiceManager("@" + channel.getsockname()[1:].decode()).stopping()
        assert channel.recv(1000) == b"STOPPING=1"


async def test_the_watchdog_is_fed_only_after_an_answer(heard: socket.socket) -> None:
    heard.setblocking(False)
    loop = asyncio.get_running_loop()
    asked = 0

    async def pulse() -> str:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise OSError("the store is gone")
        if asked == 2:
            await asyncio.Event().wait()
        return f"asked {asked} times"

    watching = asyncio.create_task(ServiceManager(heard.getsockname(), 0.05).watch(pulse))
    assert await loop.sock_recv(heard, 1000) == b"WATCHDOG=1\nSTATUS=asked 3 times"
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching


def test_a_manager_that_is_gone_is_no_reason_to_stop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ServiceManager(str(tmp_path / "nobody")).ready("serving")
    assert "was not told" in caplog.text
