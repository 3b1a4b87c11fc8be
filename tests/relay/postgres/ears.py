"""Hears what a shared store says, and waits for it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshconsole.relay.store import FeedRow

PATIENCE_S = 30.0


class Ear:
    def __init__(self) -> None:
        self.rows: list[FeedRow] = []
        self._more = threading.Condition()

    def __call__(self, rows: Sequence[FeedRow]) -> None:
        with self._more:
            self.rows += rows
            self._more.notify_all()

    def wait(self, count: int) -> list[FeedRow]:
        with self._more:
            assert self._more.wait_for(lambda: len(self.rows) >= count, PATIENCE_S), self.rows
            return list(self.rows)

    @property
    def ids(self) -> list[str]:
        return [row.id for row in self.rows]
