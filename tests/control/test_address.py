from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from meshconsole.control.address import MAX_SOCKET_PATH, peer_of, short_address


def test_a_short_path_is_its_own_address(tmp_path: Path) -> None:
    with short_address(tmp_path / "control.sock") as address:
        assert address == str(tmp_path / "control.sock")


@pytest.mark.parametrize("descriptors", [Path("/proc/self/fd"), Path("/nonexistent")])
def test_a_long_path_is_reached_through_a_short_one(tmp_path: Path, descriptors: Path) -> None:
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)
    path = folder / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        with short_address(path, descriptors) as address:
            assert len(os.fsencode(address)) <= MAX_SOCKET_PATH
            listener.bind(address)
        assert path.is_socket()
        listener.listen()
        with short_address(path, descriptors) as address:
            client.connect(address)
    assert not Path(address).parent.exists()


def test_the_system_tells_who_connected() -> None:
    here, there = socket.socketpair(socket.AF_UNIX)
    with here, there:
        peer = peer_of(here)
        assert peer is not None
        assert peer.uid == os.geteuid()
        assert {os.getegid(), *os.getgroups()} <= peer.groups


def test_a_system_that_does_not_tell_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_PEERCRED")
    here, there = socket.socketpair(socket.AF_UNIX)
    with here, there:
        assert peer_of(here) is None
