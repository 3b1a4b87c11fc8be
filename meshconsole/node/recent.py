"""The events that the console lists: the newest ones, opened where this node may open them.

A ring in memory, filled from the store at start and by the bus afterwards, so that refused events
(which no store holds) are seen too, with the reason.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from meshconsole.core import kinds
from meshconsole.core.errors import Refused, RemoteError
from meshconsole.core.status import EventView

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.core.event import Event
    from meshconsole.core.verdict import Verdict
    from meshconsole.team.state import Team

CAPACITY = 2_000
TEXT_LIMIT = 16_384


class RecentEvents:
    def __init__(self, team: Callable[[], Team | None], capacity: int = CAPACITY) -> None:
        self._team = team
        self._events: deque[EventView] = deque(maxlen=capacity)

    def add(
        self, event: Event, *, seq: int, received_at: float, size: int, via: str, verdict: Verdict
    ) -> EventView:
        text, sealed = self._open(event)
        view = EventView(
            seq=seq,
            id=event.id,
            npub=event.pubkey,
            author=self._author(event.pubkey),
            created_at=event.created_at,
            received_at=received_at,
            kind=event.kind,
            words=kinds.kind_in_words(event.kind),
            size=size,
            accepted=verdict.accepted,
            verdict=verdict.message or ("stored" if seq else "relayed"),
            text=text[:TEXT_LIMIT],
            via=self._way(via),
            sealed=sealed,
        )
        self._events.append(view)
        return view

    def newest(self, limit: int, wanted: str = "") -> tuple[EventView, ...]:
        """Oldest first. `wanted` keeps rows whose text holds it, "!" first inverts."""
        rows = [view for view in self._events if _matches(view, wanted)]
        return tuple(rows[-limit:])

    def _author(self, npub: str) -> str:
        team = self._team()
        member = team.member(npub) if team is not None else None
        return member.name if member is not None else npub[:8]

    def _way(self, via: str) -> str:
        """Where it came from, in words: a teammate's name, a client's address, "this device"."""
        if via == "local":
            return "this device"
        kind, _, npub = via.partition(" ")
        return self._author(npub) if kind == "link" else via

    def _open(self, event: Event) -> tuple[str, bool]:
        """The text to show, and whether it came sealed. What cannot be opened says so."""
        team = self._team()
        if event.kind not in (kinds.TEAM_NOTE, kinds.FILE_MANIFEST):
            return (event.content, False) if event.kind not in kinds.CONTROL_KINDS else ("", False)
        if team is None:
            return "sealed; this node has no key for it", True
        try:
            if event.kind == kinds.TEAM_NOTE:
                return team.open_note(event).text, True
            entry = team.open_manifest(event)
            return f"{entry.name} ({entry.size} bytes) {entry.cid}", True
        except (Refused, RemoteError) as error:
            return f"sealed; {error.sentence}", True


def _matches(view: EventView, wanted: str) -> bool:
    if not wanted:
        return True
    inverted = wanted.startswith("!")
    needle = wanted.lstrip("!").casefold()
    haystack = f"{view.author} {view.words} {view.verdict} {view.text} {view.id}".casefold()
    return (needle in haystack) != inverted
