"""Clocks that are ten years off: keys, links and certificates do not ask what time it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.machine import Machine

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture
def faketime() -> str:
    found = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
    if found is None:
        pytest.skip("libfaketime is not installed (Debian: apt install libfaketime)")
    return str(found)


@pytest.mark.parametrize(("one", "other"), [("-10y", "+10y"), ("+10y", "-10y")])
def test_two_devices_twenty_years_apart_are_a_team(
    one: str, other: str, faketime: str, machine: Callable[[str], Machine]
) -> None:
    alpha, bravo = machine("alpha"), machine("bravo")
    for node, offset in ((alpha, one), (bravo, other)):
        node.environment |= {"LD_PRELOAD": faketime, "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    alpha.command("init", "--yes", "--name", "alpha", "--team", "Falcon")
    bravo.command("init", "--yes", "--name", "bravo")
    for node in (alpha, bravo):
        node.start()
    bravo.command("team", "join", alpha.json("team", "invite")["text"])
    for node in (alpha, bravo):
        node.wait("a link", lambda status: any(peer["links"] for peer in status["peers"]))
    alpha.command("send", "from another time")
    bravo.wait("the note", lambda _: "from another time" in bravo.texts())
    bravo.command("send", "and back")
    alpha.wait("the answer", lambda _: "and back" in alpha.texts())
    alpha.command("team", "remove", bravo.json("status")["npub"], "--yes")
    alpha.wait("the end of the link", lambda status: not any(peer["links"] for peer in status["peers"]))
