"""Moving about: panes, lists, filter, pause, zoom."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from meshconsole.console.actions import DASHBOARD, PANES, PaneName
from meshconsole.console.clipboard import copy_text
from meshconsole.console.panes import audit as audit_pane
from meshconsole.console.panes import events as events_pane
from meshconsole.console.panes import peers as peers_pane
from meshconsole.console.panes import team as team_pane
from meshconsole.console.place import row_id
from meshconsole.console.screens.dialog import Read
from meshconsole.console.verbs.files import complete, fetch
from meshconsole.console.verbs.registry import attempt, verb
from meshconsole.console.widgets.entryline import Question
from meshconsole.console.words import receipt_facts
from meshconsole.console.work import start
from meshconsole.control.audit import AuditTail
from meshconsole.control.messages import LinesData, Notice
from meshconsole.control.team import InvitesData, ListInvites
from meshconsole.core.errors import MeshconsoleError
from meshconsole.core.status import BlobView, EventView, MemberStatus, PeerStatus
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.console.desk import Desk
    from meshconsole.console.widgets.lines import Lines


def _open_pane(name: PaneName) -> None:
    @verb(f"view.{name}")
    def go(desk: Desk, _: str) -> None:
        desk.go_to(name)
        if name == "audit":
            start(desk, partial(refresh_audit, desk), "audit", exclusive=True)
        elif name == "team":
            start(desk, partial(refresh_invites, desk), "invites", exclusive=True)


for _name in PANES:
    _open_pane(_name)


async def refresh_audit(desk: Desk) -> None:
    reply = await attempt(desk, AuditTail(limit=500))
    if reply is not None and isinstance(reply.data, LinesData):
        desk.audit.show_lines(reply.data.lines)


async def refresh_invites(desk: Desk) -> None:
    """A node that does not answer is told about elsewhere: the members are here all the same."""
    with suppress(MeshconsoleError):
        data = (await desk.session.call(ListInvites())).data
        if isinstance(data, InvitesData):
            desk.team.show_invites(data.invites)


@verb("view.next")
def next_pane(desk: Desk, _: str) -> None:
    _turn(desk, 1)


@verb("view.previous")
def previous_pane(desk: Desk, _: str) -> None:
    _turn(desk, -1)


def _turn(desk: Desk, step: int) -> None:
    """Round the panes that are shown; where only one is, round all of the dashboard's."""
    if desk.entry_line.question is not None:
        desk.entry_line.complete(complete)
        return
    names = [name for name in PANES if desk.pane(name).display]
    if len(names) == 1:
        names = list(DASHBOARD) if desk.current in DASHBOARD else list(PANES)
    at = names.index(desk.current) if desk.current in names else 0
    desk.go_to(names[(at + step) % len(names)])


@verb("view.zoom")
def zoom(desk: Desk, _: str) -> None:
    if desk.single is None:
        desk.go_to(desk.current, zoom=True)
    else:
        desk.go_to(desk.current if desk.current in DASHBOARD else "events")


@verb("view.back")
def back(desk: Desk, _: str) -> None:
    """Undoes the last mode: the entry line, the filter, the zoom."""
    lines = desk.active_list
    if desk.entry_line.question is not None:
        desk.leave_entry()
    elif lines is not None and lines.listing.filter:
        lines.set_filter("")
    elif desk.single is not None:
        desk.go_to(desk.current if desk.current in DASHBOARD else "events")


@verb("list.filter")
def filter_list(desk: Desk, text: str) -> None:
    lines = desk.active_list
    if lines is None:
        desk.say("There is no list in this pane to filter.", "warn")
        return
    if text:
        lines.set_filter(text)
        return

    async def keep(text: str) -> bool:
        lines.set_filter(text)
        return True

    before = lines.listing.filter
    desk.ask(
        Question(
            "filter",
            keep,
            value=before,
            placeholder="text to look for; ! first inverts",
            enter="keeps it",
            change=lines.set_filter,
            leave=lambda: lines.set_filter(""),
        )
    )


@verb("list.pause")
def pause(desk: Desk, _: str) -> None:
    _with_list(desk, lambda lines: lines.toggle_pause())


@verb("list.copy")
async def copy(desk: Desk, _: str) -> None:
    text = _copied(desk)
    if not text:
        desk.say("There is nothing to copy here.", "warn")
    else:
        desk.say(await copy_text(desk.app, text))


@verb("list.show")
def show_copied(desk: Desk, _: str) -> None:
    text = _copied(desk)
    if not text:
        desk.say("There is nothing to copy here.", "warn")
    else:
        facts = [("", text), ("", ""), ("", "Select it with the mouse; with --no-mouse, or Shift held.")]
        desk.app.push_screen(Read("To select", facts, desk.profile))


def _copied(desk: Desk) -> str:
    """What a copy of the row under the cursor is."""
    lines = desk.active_list
    row = lines.listing.current() if lines is not None else None
    match row:
        case Notice(text=text):
            return safe(text)
        case (int(), str(line)):
            return safe(line)
    return row_id(row)


@verb("row.open")
def open_current(desk: Desk, _: str) -> None:
    lines = desk.active_list
    if lines is None or lines.listing.current() is None:
        desk.say("There is nothing to open here.", "warn")
    else:
        lines.choose()


def open_row(desk: Desk, row: object) -> None:
    """An event, a peer, a member or a notice in full; a file to fetch."""
    match row:
        case EventView():
            desk.app.push_screen(Read("Event", events_pane.in_full(row, _receipt(desk, row)), desk.profile))
        case PeerStatus():
            now = desk.model.status.now if desk.model.status else 0.0
            trend = peers_pane.rtt_trend(desk.model.rtts.get(row.npub), 40, desk.profile)
            desk.app.push_screen(Read("Peer", peers_pane.in_full(row, now, trend), desk.profile))
        case MemberStatus():
            desk.app.push_screen(Read("Member", team_pane.in_full(row), desk.profile))
        case Notice():
            desk.app.push_screen(Read("Notice", audit_pane.in_full(row), desk.profile))
        case BlobView():
            fetch(desk, "")
        case (int(), str(line)):
            desk.app.push_screen(Read("Audit log", [("line", line)], desk.profile))


def _receipt(desk: Desk, event: EventView) -> list[tuple[str, str]]:
    sent, team = desk.events.sent.get(event.id), desk.model.status.team if desk.model.status else None
    return (
        receipt_facts(sent, {each.npub: each.name for each in team.members} if team else {}) if sent else []
    )


def _moves(action_id: str, move: Callable[[Lines[Any]], None]) -> None:
    @verb(action_id)
    def go(desk: Desk, _: str) -> None:
        lines = desk.active_list
        if lines is not None:
            move(lines)


_moves("list.down", lambda lines: lines.move(1))
_moves("list.up", lambda lines: lines.move(-1))
_moves("list.half_down", lambda lines: lines.move_page(0.5))
_moves("list.half_up", lambda lines: lines.move_page(-0.5))
_moves("list.page_down", lambda lines: lines.move_page(1))
_moves("list.page_up", lambda lines: lines.move_page(-1))
_moves("list.start", lambda lines: lines.to_start())
_moves("list.end", lambda lines: lines.to_end())


def _with_list(desk: Desk, act: Callable[[Lines[Any]], None]) -> None:
    if desk.active_list is None:
        desk.say("There is no list in this pane.", "warn")
    else:
        act(desk.active_list)
