"""Deaf sockets: this machine is heard, others get no answer at all."""

from __future__ import annotations

import socket
import sys
from contextlib import closing

import pytest

from meshconsole.relay.muting import mute, unmute

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="socket filters are Linux's")


def listener() -> socket.socket:
    one = socket.create_server(("127.0.0.1", 0))
    one.settimeout(5)
    return one


def knock(at: socket.socket, within_s: float) -> None:
    with socket.create_connection(at.getsockname(), timeout=within_s):
        at.accept()[0].close()


def test_programs_on_this_machine_are_served_by_a_deaf_socket() -> None:
    with closing(listener()) as one:
        assert mute(one)
        knock(one, 5)


def test_whoever_comes_by_another_interface_gets_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback stands for the other machine here: the filter is told that it is another interface."""
    monkeypatch.setattr(socket, "if_nametoindex", lambda _name: 4242)
    with closing(listener()) as one:
        assert mute(one)
        with pytest.raises(TimeoutError):
            knock(one, 0.3)
        unmute(one)
        unmute(one)
        knock(one, 5)
