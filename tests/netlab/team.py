"""Nodes of one team, each in a host of the lab.

Founding a team takes seconds, so it is done once (`found_homes`, on loopback and without discovery, so that
no address is remembered) and every test takes copies.
"""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from scripts.machine import LOOK_S, Failure, Machine
from tests.homes import make_home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.netlab.lab import Lab

Status = dict[str, Any]
PORT = 7447
JOIN_S = 90.0
_ALONE = ("discovery.mdns=false", "discovery.cached_peers=false", "capabilities.webrtc_hub=false")


def found_homes(folder: Path, names: Iterable[str]) -> None:
    """A home for each name, all of one team that the first has founded."""
    first, *others = machines = [Machine(folder, name, None) for name in names]

    def begin(machine: Machine) -> None:
        team = ("--team", "Falcon") if machine is first else ()
        make_home(machine, *team)
        machine.start(*_ALONE)

    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(begin, machines))
        for machine in others:
            _join(machine, first)
        for machine in machines:
            machine.wait("the whole team", lambda status: len(status["team"]["members"]) == len(machines))
            machine.command("stop")
    finally:
        for machine in machines:
            machine.kill()


def _join(machine: Machine, founder: Machine) -> None:
    """The founder's door lets in so many a minute; the others wait their turn."""
    until = time.monotonic() + JOIN_S
    while True:
        invite = founder.json("team", "invite", "--address", founder.address)["text"]
        joined = machine.command("team", "join", invite, check=False)
        if not joined.returncode:
            return
        if time.monotonic() > until:
            raise Failure(f"{machine.name} did not join: {joined.stderr}")
        time.sleep(5)


class Team:
    """`homes` is what `found_homes` made; the nodes' homes are copies in `folder`. Each runs in the host of
    its name, or in `host`."""

    def __init__(self, lab: Lab, homes: Path, folder: Path, names: Iterable[str], host: str = "") -> None:
        self.lab = lab
        self.nodes: dict[str, Machine] = {}
        for name in names:
            shutil.copytree(homes / name, folder / name, symlinks=True)
            within = tuple(lab.within(host or name))
            self.nodes[name] = Machine(folder, name, None, within=within, listen=f":{PORT}")

    def __getitem__(self, name: str) -> Machine:
        return self.nodes[name]

    def start(self, *settings: str, only: Iterable[str] = ()) -> None:
        """All of them at once, or those that are named."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: self.nodes[name].start(*settings), tuple(only) or self.nodes))

    def set_clock(self, name: str, offset: str) -> None:
        """From its next start on the node's clock is off: "+1y", "-3h". Skips where that cannot be done."""
        self._fake(name, offset)
        self.nodes[name].environment["FAKETIME_DONT_FAKE_MONOTONIC"] = "1"

    def hasten(self, name: str, factor: int) -> None:
        """From its next start on, all time passes faster for the node: every clock of its process, and every
        wait (libfaketime scales epoll_wait as well). Skips where that cannot be done."""
        self._fake(name, f"+0 x{factor}")

    def _fake(self, name: str, what: str) -> None:
        library = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
        if library is None:
            pytest.skip("libfaketime is not installed (Debian: apt install faketime)")
        self.nodes[name].environment |= {"LD_PRELOAD": str(library), "FAKETIME": what}

    def kill(self) -> None:
        for node in self.nodes.values():
            node.kill()

    def until(self, name: str, what: str, ready: Callable[[Status], bool], within_s: float = 30) -> float:
        """Seconds until the node's status satisfies `ready`. Raises Failure after `within_s`."""
        began = time.monotonic()
        self.nodes[name].wait(what, ready, within_s)
        return time.monotonic() - began

    def until_linked(self, within_s: float = 30) -> float:
        """Seconds until each has a link to each."""
        began = time.monotonic()
        for name in self.nodes:
            rest = max(0.1, began + within_s - time.monotonic())
            self.until(name, "links to all", self._has_links_of(name), rest)
        return time.monotonic() - began

    def _has_links_of(self, name: str) -> Callable[[Status], bool]:
        others = [other for other in self.nodes if other != name]
        return lambda status: all(has_link(status, other) for other in others)

    def until_event(self, name: str, text: str, within_s: float = 30) -> float:
        """Seconds until the node shows an event that holds `text`."""
        began = time.monotonic()
        while not any(text in shown for shown in self.nodes[name].texts()):
            if time.monotonic() - began > within_s:
                raise Failure(f"{name} does not show {text!r} after {within_s:.0f} s")
            time.sleep(LOOK_S)
        return time.monotonic() - began


def peer(status: Status, name: str) -> dict[str, Any]:
    """The row of a peer. Raises KeyError if there is none."""
    for row in status["peers"]:
        if row["name"] == name:
            return dict(row)
    raise KeyError(name)


def has_link(status: Status, name: str) -> bool:
    return any(row["name"] == name and row["links"] for row in status["peers"])


def is_linked(name: str) -> Callable[[Status], bool]:
    """Whether the node has a link to the peer of that name."""
    return lambda status: has_link(status, name)


def is_up(name: str) -> Callable[[Status], bool]:
    return lambda status: bool(peer(status, name)["state"] == "up")


def is_cut_off(name: str) -> Callable[[Status], bool]:
    return lambda status: not has_link(status, name)
