"""What the desk must say above everything else, in words: flash notes that wait, emission control. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.console.words import ago_in_words, clock_in_words
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from meshconsole.console.ink import Tone
    from meshconsole.core.sections import EmconLevel
    from meshconsole.core.status import NodeStatus, RollCallStatus, RollState

MOST_CELLS = 400
"""Of a flash note in the banner; all of it is in the events pane."""

LEVELS: tuple[tuple[EmconLevel, str, str], ...] = (
    ("open", "o", "this node shows itself, dials and answers"),
    ("quiet", "q", "this node answers and keeps its links, shows itself to nobody and dials nobody"),
    ("receive-only", "r", "nothing leaves this node; beacons and flash notes of others are heard"),
    ("dark", "d", "nothing leaves this node and nothing is heard"),
)
"""Each level of emission control, the key that chooses it, and what it means."""


def emcon_banner(status: NodeStatus) -> str:
    """ "" while the node may send."""
    if status.emcon == "open":
        return ""
    meaning = next(words for level, _, words in LEVELS if level == status.emcon)
    return f"EMCON {status.emcon.upper()}: {meaning}."


def flash_banner(status: NodeStatus) -> str:
    """The oldest flash note that nobody has acknowledged; "" if there is none."""
    if not status.unread:
        return ""
    first, *others = status.unread
    more = f" ({len(others)} more)" if others else ""
    author = safe(first.author, 24)
    return f"FLASH from {author} at {clock_in_words(first.received_at)}{more}: {safe(first.text, MOST_CELLS)}"


ROLL_WORDS: dict[RollState, str] = {
    "help": "NEEDS HELP",
    "out": "out of action",
    "ok": "ok",
    "carried": "carried",
    "silent": "silent",
}
"""The worst first: so the board is sorted, and so it is summed up."""
ROLL_TONES: dict[RollState, Tone] = {
    "help": "bad",
    "out": "warn",
    "ok": "good",
    "carried": "accent",
    "silent": "dim",
}
OWED_S = 43_200
"""An older roll call is not asked about any more."""


def roll_banner(status: NodeStatus) -> str:
    """While this device owes an answer, and to everybody while somebody needs help; else ""."""
    call = status.roll_call
    if call is None or status.now - call.at > OWED_S:
        return ""
    if call.owed:
        by = f"{safe(call.author, 24)}, {ago_in_words(call.at, status.now)}"
        return f"{safe(call.words, MOST_CELLS)} from {by}."
    helpless = [safe(row.name, 24) for row in call.board if row.state == "help"]
    return f"ROLL CALL: {', '.join(helpless)} needs help." if helpless else ""


def roll_summary(call: RollCallStatus) -> str:
    """ "2 ok, 1 NEEDS HELP, 3 silent", the worst first."""
    states = [row.state for row in call.board]
    counted = [f"{states.count(state)} {word}" for state, word in ROLL_WORDS.items() if state in states]
    return ", ".join(counted) or "nobody is asked"


def roll_rows(call: RollCallStatus, now: float) -> list[tuple[str, RollState, str]]:
    """Name, state and age of the answer of each device, the worst first."""
    order = list(ROLL_WORDS)
    rows = sorted(call.board, key=lambda row: (order.index(row.state), row.name))
    return [(row.name, row.state, "" if row.at is None else ago_in_words(row.at, now)) for row in rows]
