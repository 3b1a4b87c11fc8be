"""The end of a turn of the event loop: what is done once, however often it was asked for in the turn.

Connections are written to here, all in one go: a write for each message would cost more than all the
rest of what a relay does, and a callback of its own for each connection a tenth of it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class TurnEnd:
    def __init__(self) -> None:
        self._due: list[Callable[[], None]] = []

    def do(self, what: Callable[[], None]) -> None:
        """Calls `what` when the loop has done what was ready before. In order."""
        if not self._due:
            asyncio.get_running_loop().call_soon(self._run)
        self._due.append(what)

    def run_now(self) -> None:
        """Does what is due without waiting for the end of the turn: where somebody waits for one answer. A
        fault is reported to the loop, as it would be there."""
        try:
            self._run()
        except Exception as error:
            fault = {"message": "what was due at the end of a turn failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(fault)

    def _run(self) -> None:
        due, self._due = self._due, []
        remaining = iter(due)
        try:
            for what in remaining:
                what()
        finally:
            for what in remaining:  # only after a fault, which the loop reports
                self.do(what)
