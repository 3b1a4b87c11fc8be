"""How long a note takes from one node to the other, both on this machine, as a person would see it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.figures import Figure, percentiles
from bench.nodes import a_pair
from meshconsole.control.blocking import call, stream
from meshconsole.control.messages import EventsPush, Subscribe
from meshconsole.control.notes import SendNote

if TYPE_CHECKING:
    from pathlib import Path

NOTES = 50
PAUSE_S = 0.1


def measure() -> list[Figure]:
    with a_pair() as (alpha, bravo):
        accepted, shown = _send(alpha.home / "control.sock", bravo.home / "control.sock")
    return [*percentiles("note accepted by alpha", accepted), *percentiles("note shown by bravo", shown)]


def _send(sender: Path, receiver: Path) -> tuple[list[float], list[float]]:
    """At most ten pushes a second are allowed to a console, so up to 0.1 s of this is its frame."""
    pushes = stream(receiver, Subscribe(fps=10, events=True, blobs=False))
    next(pushes)
    accepted, shown = [], []
    for number in range(NOTES):
        text = f"bench note {number}"
        began = time.perf_counter()
        call(sender, SendNote(text)).or_raise()
        accepted.append(time.perf_counter() - began)
        for push in pushes:
            if isinstance(push, EventsPush) and any(event.text == text for event in push.events):
                break
        shown.append(time.perf_counter() - began)
        time.sleep(PAUSE_S)
    pushes.close()  # type: ignore[attr-defined]
    return accepted, shown
