"""Who comes in by any of the node's doors: all that are inside are counted, then the owner's limits judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.core.verdict import Verdict
    from meshconsole.node.limits.governor import Governor, Use


class Door:
    def __init__(self, governor: Governor, use: Use) -> None:
        self._governor = governor
        self._use = use
        self.counts: list[Callable[[], int]] = []
        """How many connections each room has."""

    def count(self) -> None:
        """Between two samples too: each that comes in is counted before the next is admitted."""
        self._use.connections = sum(count() for count in self.counts)

    def admit(self, kind: str, remote: str) -> Verdict:
        self.count()
        return self._governor.admit(kind, remote)
