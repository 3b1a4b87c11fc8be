"""Whole nodes as processes, driven by commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scripts.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.homes import Homes


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Callable[[str], Machine]]:
    """Makes a machine by name; its node is killed after the test."""
    made: list[Machine] = []

    def make(name: str, folder: Path = tmp_path, passphrase: str | None = None) -> Machine:
        made.append(Machine(folder, name, passphrase))
        return made[-1]

    yield make
    for each in made:
        each.kill()


@pytest.fixture
def alpha(machine: Callable[[str], Machine], init: Homes) -> Machine:
    """A running node with a team of its own."""
    node = machine("alpha")
    init(node, "--team", "Falcon")
    node.start()
    return node


@pytest.fixture
def bravo(alpha: Machine, machine: Callable[[str], Machine], init: Homes) -> Machine:
    """A second running node in alpha's team, linked to it."""
    node = machine("bravo")
    init(node)
    node.start()
    node.command("team", "join", alpha.json("team", "invite")["text"])
    for each in (alpha, node):
        each.wait("a link", lambda status: any(peer["links"] for peer in status["peers"]))
    return node
