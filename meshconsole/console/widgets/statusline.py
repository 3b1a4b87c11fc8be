"""The first line: who am I, which team, where the relay is, who is here, since when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.console.ink import length
from meshconsole.console.widgets.sheet import Sheet
from meshconsole.console.words import duration_in_words, short_key
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from meshconsole.console.ink import Line, Span
    from meshconsole.console.model import Model
    from meshconsole.console.profile import Profile
    from meshconsole.core.status import NodeStatus, RelayStatus


class StatusLine(Sheet):
    def __init__(self, profile: Profile) -> None:
        super().__init__(id="status")
        self.profile = profile
        self.model: Model | None = None

    def show(self, model: Model) -> None:
        self.model = model
        self.update()

    def compose_lines(self, width: int, height: int) -> list[Line]:
        if self.model is None or self.model.status is None:
            return [[("meshconsole", "strong")]]
        status = self.model.status
        parts = _parts(status, stale=self.model.stale)
        if self.hiding:
            for name in ("name", "key", "team", "relay"):
                del parts[name]
            parts = {"privacy": [("PRIVACY MODE", "accent")], **parts}
        while True:
            line: Line = []
            for part in parts.values():
                if line:
                    line.append(("  ", ""))
                line += part
            if length(line) <= width or not parts:
                return [line]
            parts.pop(next(name for name in _GIVEN_UP if name in parts))


NAME_CELLS = 24

_GIVEN_UP = ("key", "version", "who may read", "relay", "up", "team", "peers", "name")
"""Where there is little room, in this order."""


def _parts(status: NodeStatus, *, stale: bool) -> dict[str, Line]:
    up = sum(peer.state == "up" for peer in status.peers)
    team = safe(status.team.name, NAME_CELLS) if status.team else "none yet"
    parts: dict[str, Line] = {
        "name": [(safe(status.name, NAME_CELLS), "strong")],
        "key": [(short_key(status.npub), "dim")],
        "team": [("team ", "dim"), (team, "accent" if status.team else "warn")],
        "relay": [("relay ", "dim"), *_relay(status.relay)],
        "who may read": [_audience(status.relay)],
        "peers": [
            ("peers ", "dim"),
            (f"{up}/{len(status.peers)}", "warn" if status.peers and not up else ""),
            (" up", "dim"),
        ],
        "up": [("for ", "dim"), (duration_in_words(status.now - status.started), "")],
        "version": [(f"v{status.version}", "dim")],
    }
    if not status.relay.enabled:
        del parts["who may read"]
    if stale:
        parts["peers"] = [("peers unknown", "warn")]
        del parts["up"]
    return parts


def _relay(relay: RelayStatus) -> Line:
    if not relay.enabled:
        return [("off", "warn")]
    return [(relay.address.removeprefix("ws://") or "starting", "")]


def _audience(relay: RelayStatus) -> Span:
    return ("public", "warn") if relay.public else ("team only", "good")
