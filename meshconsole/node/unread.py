"""Flash notes of others that nobody has acknowledged here: kept through restarts, until somebody has."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.core.status import EventView
    from meshconsole.node.recent import RecentEvents
    from meshconsole.node.state import NodeState

UNREAD = "unread-flash"
MOST = 64
"""The newest are kept: whoever sends more than this wants to hide the others."""
ALARMING_S = 86_400
"""A flash note that was older than this when it came, to a device that was away, alarms nobody."""


class Unread:
    def __init__(self, state: NodeState, recent: RecentEvents, now: Callable[[], float]) -> None:
        self._state = state
        self._recent = recent
        self._now = now
        self._ids = state.get(UNREAD, list[str], [])

    def arrived(self, event_id: str, created_at: int) -> None:
        """A flash note of a teammate is durably stored here."""
        if event_id not in self._ids and self._now() - created_at < ALARMING_S:
            self._keep([*self._ids, event_id][-MOST:])

    def read(self, event_id: str) -> None:
        if event_id in self._ids:
            self._keep([each for each in self._ids if each != event_id])

    def views(self) -> tuple[EventView, ...]:
        """The oldest first."""
        return self._recent.find(frozenset(self._ids)) if self._ids else ()

    def _keep(self, ids: list[str]) -> None:
        self._state.put(UNREAD, ids)
        self._ids = ids
