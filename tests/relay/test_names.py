from __future__ import annotations

import socket

import ifaddr
import pytest

from meshconsole.relay import names
from meshconsole.relay.names import host_of, names_this_machine, names_this_relay


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("ws://192.168.1.5:7447/", "192.168.1.5"),
        ("wss://Relay.Example.COM./path?x", "relay.example.com"),
        ("ws://[FE80::1%eth0]:7447", "fe80::1"),
        ("ws://[0:0:0:0:0:0:0:1]/", "::1"),
        ("ws://user:pass@host", "host"),
        ("host", None),
        ("", None),
        ("ws://", None),
        ("ws://[broken", None),
        ("ws://[v1.x]/", "v1.x"),
    ],
)
def test_host_of(url: str, host: str | None) -> None:
    assert host_of(url) == host


@pytest.fixture(autouse=True)
def _this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Pi-Four.lan")
    monkeypatch.setattr(names, "_own_addresses", lambda: {"10.0.0.7", "fe80::7"})


@pytest.mark.parametrize(
    "url",
    [
        "ws://localhost:9000",
        "ws://127.0.0.1:7447/",
        "ws://127.1.2.3",
        "ws://[::1]:7447",
        "wss://10.0.0.7/anything",
        "ws://[fe80::7%wlan0]:7447",
        "ws://pi-four:7447",
        "ws://PI-FOUR.local",
        "ws://pi-four.lan.",
        "wss://relay.team.example",
        "ws://172.17.0.2:80",
    ],
)
def test_these_are_this_machine(url: str) -> None:
    assert names_this_machine(url, ("Relay.Team.Example", "172.17.0.2"))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ws://",
        "localhost",
        "ws://10.0.0.8",
        "ws://other.local",
        "ws://pi-four.evil.example",
        "ws://[broken",
    ],
)
def test_these_are_not(url: str) -> None:
    assert not names_this_machine(url)


def test_many_names_cost_one_look_at_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may send a request to vanish, with thousands of relays in it."""
    looked = 0

    def adapters() -> list[object]:
        nonlocal looked
        looked += 1
        return []

    monkeypatch.undo()
    monkeypatch.setattr(ifaddr, "get_adapters", adapters)
    monkeypatch.setattr(names, "_own_addresses", names.OwnAddresses(lambda: 5.0))
    assert not any(names_this_relay(f"ws://192.0.2.{n}:7447", (7447,), ()) for n in range(200))
    assert looked == 1


def test_addresses_are_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 5.0
    found: list[object] = []
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: found)
    addresses = names.OwnAddresses(lambda: now)
    assert addresses() == frozenset()
    found = [ifaddr.Adapter("a", "a", [ifaddr.IP("192.0.2.1", 24, "a")])]
    assert addresses() == frozenset()
    now += names.LOOK_AGAIN_S
    assert addresses() == {"192.0.2.1"}


def test_without_a_look_at_the_network_what_was_known_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system has no file descriptor left for it, for instance."""

    def broken() -> list[object]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(ifaddr, "get_adapters", broken)
    assert names.OwnAddresses(lambda: 0.0)() == frozenset()
