"""Events that are written and awaited, and how long each took."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from nostr_sdk import EventBuilder, Keys, Kind

from meshconsole.control.blocking import call, stream
from meshconsole.control.messages import EventsPush, Subscribe
from meshconsole.control.notes import SendNote
from meshconsole.core.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from meshconsole.core.precedence import PrecedenceName
    from scripts.machine import Machine
    from tests.netlab.team import Status


class Arrivals:
    """When each text was shown first by a node, and how often, from now on. Exact to a tenth of a second."""

    def __init__(self, node: Machine) -> None:
        self.at: dict[str, float] = {}
        self.times: Counter[str] = Counter()
        self._pushes = stream(node.home / "control.sock", Subscribe(fps=10, events=True, blobs=False))
        next(self._pushes)
        threading.Thread(target=self._listen, name=f"arrivals at {node.name}", daemon=True).start()

    def _listen(self) -> None:
        with suppress(Unavailable):  # the node was ended
            for push in self._pushes:
                for event in push.events if isinstance(push, EventsPush) else ():
                    self.at.setdefault(event.text, time.monotonic())
                    self.times[event.text] += 1

    def wait(self, texts: Iterable[str], within_s: float) -> int:
        """How many of them have come, when all have or the time is up."""
        wanted, until = set(texts), time.monotonic() + within_s
        while not wanted <= self.at.keys() and time.monotonic() < until:
            time.sleep(0.05)
        return len(wanted & self.at.keys())


def send_notes(
    node: Machine, texts: Sequence[str], *, pause_s: float = 0.0, precedence: PrecedenceName = "routine"
) -> dict[str, float]:
    """When each was handed to the node."""
    sent = {}
    for text in texts:
        sent[text] = time.monotonic()
        call(node.home / "control.sock", SendNote(text, precedence)).or_raise()
        time.sleep(pause_s)
    return sent


def percentile(values: Iterable[float], share: float) -> float:
    """0.0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def write_events(node: Machine, count: int, folder: Path) -> tuple[set[str], int]:
    """Takes over events of a stranger, signed for this. Their ids, and their bytes together."""
    keys = Keys.generate()
    lines = [EventBuilder(Kind(1), f"{node.name} {n}").finalize(keys).as_json() for n in range(count)]
    path = folder / f"for-{node.name}-{time.monotonic_ns()}.jsonl"
    path.write_text("\n".join(lines) + "\n")
    node.command("import", str(path))
    return {json.loads(line)["id"] for line in lines}, sum(len(line) for line in lines)


def held_by(node: Machine, folder: Path) -> list[str]:
    """Ids of all events that a node would export."""
    path = folder / f"from-{node.name}-{time.monotonic_ns()}.jsonl"
    node.command("export", str(path))
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def has_taken(count: int) -> Callable[[Status], bool]:
    """Whether a node has taken in so many notes of strangers (kind 1) since it started, once each."""

    def has(status: Status) -> bool:
        kinds = {each["kind"]: each["count"] for each in status["relay"]["kinds"]}
        return bool(kinds.get(1, 0) >= count)

    return has
