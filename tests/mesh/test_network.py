"""The network watched: what the kernel tells, what is looked up, and a sleep."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING

from meshconsole.mesh import network
from meshconsole.mesh.addresses import Interface, Networks, networks
from meshconsole.mesh.network import NetworkWatch

if TYPE_CHECKING:
    import pytest

HOME = Networks(("10.0.0.5",), frozenset({"10.0.0.5"}), ())
AWAY = Networks(("10.1.0.5",), frozenset({"10.1.0.5"}), ())


def test_loopback_is_a_network_with_a_broadcast_address() -> None:
    found = networks()
    (loopback,) = [one for one in found.interfaces if one.is_loopback]
    assert ("127.0.0.1", "127.255.255.255") in loopback.ipv4
    assert "127.0.0.1" in found.own
    assert isinstance(loopback, Interface)


async def test_another_address_is_noticed_and_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "LOOK_S", 0.01)
    monkeypatch.setattr(network, "networks", lambda: HOME)
    told: list[Networks] = []
    changed = asyncio.Event()

    def note() -> None:
        told.append(watch.current)
        changed.set()

    watch = NetworkWatch(note, lambda: 0.0)
    await watch.prepare()
    looking = asyncio.create_task(watch.run())
    monkeypatch.setattr(network, "networks", lambda: AWAY)
    await changed.wait()
    looking.cancel()
    await asyncio.wait([looking])
    assert told == [AWAY]


async def test_a_sleep_is_noticed_though_nothing_else_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "LOOK_S", 0.01)
    monkeypatch.setattr(network, "networks", lambda: HOME)
    times = iter([0.0, 0.01, 100.0, 200.0])
    monkeypatch.setattr(network, "_awake_and_asleep", lambda _now: next(times, 200.0))
    woken = asyncio.Event()
    watch = NetworkWatch(woken.set, lambda: 0.0)
    await watch.prepare()
    looking = asyncio.create_task(watch.run())
    await woken.wait()
    looking.cancel()
    await asyncio.wait([looking])


def message(kind: int, link: int = 1, more: int = 0) -> bytes:
    body = struct.pack("=BxHiII", 0, 1, link, 0, 0) + bytes(more)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body + bytes(-len(body) % 4)


def test_the_kernels_messages_are_told_apart_and_rubbish_ends() -> None:
    assert list(network._links(message(20) + message(16, 7, more=3) + message(16, 9))) == [7, 9]
    for rubbish in (bytes(64), b"\xff" * 64, b"\xff" * 9, b""):
        assert list(network._links(rubbish)) == [], "a length of nothing does not go round for ever"


async def test_a_kernel_that_does_not_tell_costs_nothing_but_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_netlink", lambda: None)
    await test_another_address_is_noticed_and_told_once(monkeypatch)
