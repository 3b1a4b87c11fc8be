"""Whether a disk is fast enough that the event loop may wait for it. Pure.

Handing one event to the writing thread and back takes a tenth of a millisecond, and a commit on a quiet SSD
three or four: then the loop itself had better commit. On a card, or a disk that others keep busy, a commit
takes tens of milliseconds now and then, in which nobody else would be served.
"""

from __future__ import annotations

PROMPT_S = 0.002
"""A commit of few events that took longer was not prompt."""

FEW = 8
FEW_BYTES = 32 * 1024
"""So many events, and so large together, are few: read, checked and made durable in a turn of the loop."""

IN_A_ROW = 16
"""So many prompt ones make a disk prompt. Where one commit in ten is slow, that lets the loop do one in five,
where one in fifty is, seven of ten."""


class Promptness:
    """Hears of every commit. What happened before it was made is not known, so a disk is slow at first."""

    def __init__(self) -> None:
        self._in_a_row = 0

    @property
    def is_prompt(self) -> bool:
        return self._in_a_row >= IN_A_ROW

    def committed(self, events: int, seconds: float) -> None:
        if seconds <= PROMPT_S:
            self._in_a_row += 1
        elif events <= FEW:
            self._in_a_row = 0

    def failed(self) -> None:
        """A disk that is about to break takes seconds for a commit that fails."""
        self._in_a_row = 0
