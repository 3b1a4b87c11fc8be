"""Where a person was at the desk: taken down, and found again at the next attach."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.console.actions import PANES
from meshconsole.control.desk import KeepDesk
from meshconsole.core.status import BlobView, EventView, MemberStatus, PeerStatus

if TYPE_CHECKING:
    from meshconsole.console.desk import Desk

MOST = 256


def place_of(desk: Desk) -> KeepDesk:
    lines = desk.active_list
    if lines is None:
        return KeepDesk(desk.current, desk.single is not None)
    row = "" if lines.listing.follow else row_id(lines.listing.current())
    return KeepDesk(desk.current, desk.single is not None, lines.listing.filter[:MOST], row[:MOST])


def go_back(desk: Desk, place: KeepDesk) -> None:
    """As far as what was there is there still."""
    pane = next((name for name in PANES if name == place.pane), None)
    if pane is None:
        return
    if pane != desk.current or place.zoomed:
        desk.action_do(f"view.{pane}")
        if place.zoomed and desk.single is None:
            desk.go_to(pane, zoom=True)
    lines = desk.active_list
    if lines is None:
        return
    if place.filter:
        lines.set_filter(place.filter)
    listing = lines.listing
    at = next((at for at in range(len(listing)) if place.row and row_id(listing.row(at)) == place.row), None)
    if at is not None:
        lines.move(at - listing.cursor)


def row_id(row: object) -> str:
    match row:
        case EventView(id=text) | BlobView(cid=text) | PeerStatus(npub=text) | MemberStatus(npub=text):
            return text
    return ""
