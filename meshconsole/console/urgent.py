"""What the desk must say above everything else, in words: flash notes that wait, emission control. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.console.words import clock_in_words
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from meshconsole.core.config import EmconLevel
    from meshconsole.core.status import NodeStatus

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
