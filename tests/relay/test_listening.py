"""Sockets on every address of this machine."""

from __future__ import annotations

import asyncio
import errno
import socket

import pytest

from meshconsole.relay.listening import listeners
from tests.relay.door import door


def names(made: list[socket.socket]) -> list[tuple[int, str, int]]:
    found = [(one.family, *one.getsockname()[:2]) for one in made]
    for one in made:
        one.close()
    return found


def without(monkeypatch: pytest.MonkeyPatch, *families: int, error: int = errno.EADDRNOTAVAIL) -> None:
    make = socket.create_server

    def create_server(address: tuple[str, int], *, family: int) -> socket.socket:
        if family in families:
            raise OSError(error, "not here")
        return make(address, family=family)

    monkeypatch.setattr(socket, "create_server", create_server)


def test_both_kinds_have_the_same_port_and_ipv4_is_the_first() -> None:
    first, *more = names(listeners(0))
    assert first[:2] == (socket.AF_INET, "0.0.0.0")
    for other in more:  # a machine may have no IPv6
        assert other == (socket.AF_INET6, "::", first[2])


@pytest.mark.parametrize(
    ("absent", "left"), [(socket.AF_INET6, socket.AF_INET), (socket.AF_INET, socket.AF_INET6)]
)
@pytest.mark.parametrize("error", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
def test_a_machine_without_one_kind_does_with_the_other(
    absent: int, left: int, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if left == socket.AF_INET6 and len(names(listeners(0))) < 2:
        pytest.skip("this machine has no IPv6")
    without(monkeypatch, absent, error=error)
    assert [family for family, *_ in names(listeners(0))] == [left]


def test_without_either_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, socket.AF_INET, socket.AF_INET6)
    with pytest.raises(OSError, match="neither"):
        listeners(0)


def test_a_port_that_is_taken_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    held = listeners(0)
    port = held[0].getsockname()[1]
    with pytest.raises(OSError) as caught:
        listeners(port)
    assert caught.value.errno == errno.EADDRINUSE
    names(held)
    without(monkeypatch, socket.AF_INET6, error=errno.EADDRINUSE)
    for wanted in (port, 0):
        with pytest.raises(OSError):
            listeners(wanted)
    monkeypatch.undo()
    assert names(listeners(port))


async def test_a_relay_that_listens_everywhere_answers_by_both() -> None:
    async with door(host="") as d:
        ports = {address.rpartition(":")[2] for address in d.server.addresses}
        assert len(ports) == 1
        for address in d.server.addresses:
            near = address.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")
            host, _, port = near.rpartition(":")
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 426")
            writer.close()
