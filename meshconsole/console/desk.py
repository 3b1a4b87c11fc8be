"""The desk: status line, panes, notice line, entry line, keys.

It shows. What a person does at it is handed to it (`Acts`): `verbs/` names the desk, never the other way.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.binding import Binding
from textual.containers import Container
from textual.screen import Screen

from meshconsole.console.actions import DASHBOARD, FOOTER, PANE_FOOTER, PANES, PaneName
from meshconsole.console.ink import HIDDEN, HIDING, Inked
from meshconsole.console.panes.audit import Audit, Notices
from meshconsole.console.panes.events import Events
from meshconsole.console.panes.files import Files
from meshconsole.console.panes.limits import Limits
from meshconsole.console.panes.map import Map
from meshconsole.console.panes.peers import Peers
from meshconsole.console.panes.storage import Storage
from meshconsole.console.panes.team import Team
from meshconsole.console.shell import Shell
from meshconsole.console.widgets.banners import Banners
from meshconsole.console.widgets.entryline import EntryLine, Question
from meshconsole.console.widgets.keybar import KeyBar
from meshconsole.console.widgets.lines import Lines
from meshconsole.console.widgets.noticeline import NoticeLine
from meshconsole.console.widgets.sheet import Sheet
from meshconsole.console.widgets.statusline import StatusLine
from meshconsole.console.words import clock_in_words
from meshconsole.console.work import start
from meshconsole.control.messages import BlobsPush, EventsPush, Notice, NoticesPush, StatusPush
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from textual import events
    from textual.app import ComposeResult
    from textual.widget import Widget
    from textual.widgets import Input

    from meshconsole.console.ink import Line, Tone
    from meshconsole.console.keymap import Keymap
    from meshconsole.console.model import LinkState, Model
    from meshconsole.console.profile import Profile
    from meshconsole.console.session import Session
    from meshconsole.control.messages import Push
    from meshconsole.core.history import Track
    from meshconsole.core.status import BlobView, EventView, NodeStatus

TINY = 60
WIDE, HIGH = 120, 30
SILENCE_CHECK_S = 5.0


@dataclass(frozen=True, slots=True)
class Acts:
    """What can be done at a desk."""

    verbs: Mapping[str, Callable[[Desk, str], Awaitable[None] | None]]
    """Of each action, by its id. The argument is what followed the command, "" for a key."""
    open_row: Callable[[Desk, object], None]
    unlock: Callable[[Desk], Coroutine[Any, Any, None]]


class Desk(Screen[None]):
    AUTO_FOCUS = "#events"

    def __init__(
        self,
        model: Model,
        profile: Profile,
        session: Session,
        clock: Callable[[], float],
        keymap: Keymap,
        acts: Acts,
    ) -> None:
        super().__init__()
        self.keymap = keymap
        self._acts = acts
        # Textual has public bindings of classes and of the app only; these are this desk's own, and go
        # before those that it has of its class, such as Tab.
        for action in keymap.actions:
            for key in action.keys:
                binding = Binding(key, f"do('{action.id}')", action.title, show=False)
                self._bindings.key_to_bindings[key] = [binding]
        self.model = model
        self.profile = profile
        self.session = session
        self.clock = clock
        self.current: PaneName = "events"
        self.single: PaneName | None = None
        """The one pane that is shown, None for the dashboard."""
        self.status_line = StatusLine(profile)
        self.banners = Banners()
        self.tabs = Sheet(id="tabs")
        self.peers = Peers(profile)
        self.events = Events(profile)
        self.storage = Storage(profile)
        self.limits = Limits(profile)
        self.files = Files(profile)
        self.team = Team(profile)
        self.audit = Audit(profile)
        self.notices = Notices(profile)
        self.map = Map(profile)
        self.notice_line = NoticeLine()
        self.entry_line = EntryLine()
        self.key_bar = KeyBar()

    def compose(self) -> ComposeResult:
        yield self.status_line
        yield from self.banners
        yield self.tabs
        # The order in which the grid takes them.
        with Container(id="panes"):
            yield self.peers
            yield self.storage
            yield self.limits
            yield self.events
            yield self.files
            yield self.team
            yield self.audit
            yield self.notices
            yield self.map
        yield self.notice_line
        yield self.entry_line
        yield self.key_bar

    def on_mount(self) -> None:
        self.entry_line.display = False
        for banner in self.banners:
            banner.display = False
        self.set_interval(SILENCE_CHECK_S, self._check_silence)
        self.lay_out()

    def on_resize(self, _: events.Resize) -> None:
        self.lay_out()

    # What is shown.

    def pane(self, name: PaneName) -> Widget:
        panes: dict[PaneName, Widget] = {
            "peers": self.peers,
            "events": self.events,
            "storage": self.storage,
            "limits": self.limits,
            "files": self.files,
            "team": self.team,
            "audit": self.audit,
            "notices": self.notices,
            "map": self.map,
        }
        return panes[name]

    @property
    def active_list(self) -> Lines[Any] | None:
        """The list that list actions mean."""
        pane = self.pane(self.current)
        return pane if isinstance(pane, Lines) else None

    def lay_out(self) -> None:
        """Which panes are there, for this size and view."""
        width, height = self.app.size
        tiny = width < TINY
        single = self.single or (self.current if tiny else None)
        shown = {single} if single else {*DASHBOARD, *(["files"] if width >= WIDE and height >= HIGH else [])}
        for name in PANES:
            self.pane(name).display = name in shown
        self.query_one("#panes").set_class(single is not None, "-single")
        self.tabs.display = tiny
        for banner in self.banners:
            banner.lay_out()
        self._show_tabs()
        self._show_keys()

    def go_to(self, name: PaneName, *, zoom: bool = False) -> None:
        self.current = name
        self.single = name if zoom or not self._on_dashboard(name) else None
        self.lay_out()
        self.entry_line.close()
        self.pane(name).focus()

    def _on_dashboard(self, name: PaneName) -> bool:
        wide = self.app.size.width >= WIDE and self.app.size.height >= HIGH
        return name in DASHBOARD or (name == "files" and wide)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        for name in PANES:
            if event.widget is self.pane(name) and name != self.current:
                self.current = name
                self.lay_out()
        self._show_keys()

    def say(self, words: str, tone: Tone = "", *, private: bool = True) -> None:
        """The answer to what the person just did. `private`: it may name somebody, or tell what one wrote."""
        self.notice_line.say(clock_in_words(self.clock()), words, tone, private=private)

    def ask(self, question: Question) -> None:
        self.entry_line.ask(question)
        self._show_keys()

    def leave_entry(self) -> None:
        question = self.entry_line.question
        self.entry_line.close()
        if question is not None and question.leave is not None:
            question.leave()
        self.pane(self.current).focus()
        self._show_keys()

    def hide(self, hidden: bool) -> None:
        """Texts, names and addresses, at once."""
        self.app.set_class(hidden, HIDING)
        for widget in self.query(Inked):
            widget.refresh()
        for lines in self.query(Lines):
            lines.redraw()
        for sheet in self.query(Sheet):
            sheet.update()
        self.refresh_all()

    @property
    def hiding(self) -> bool:
        return self.app.has_class(HIDING)

    def shown(self, text: str, limit: int = 24) -> str:
        """What somebody else chose or wrote, for a dialog: safe, and not at all while such is hidden."""
        return HIDDEN if self.hiding else safe(text, limit)

    def refresh_all(self) -> None:
        model = self.model
        self.status_line.show(model)
        self._show_urgent()
        self.events.show(model)
        self.peers.show(model)
        self.storage.show(model)
        self.limits.show(model)
        self.team.show(model)
        self.notices.show(model)
        self.map.show(model)

    # What the person does.

    def action_do(self, action_id: str, argument: str = "") -> None:
        action = self.keymap.action(action_id)
        if action.pane is not None and action.pane != self.current:
            number = PANES.index(action.pane) + 1
            self.say(f"{action.title}: in the {action.pane} pane (key {number}).", "warn")
        elif action.changes and self.session.read_only:
            self.say(f"{action.title}: not from here, this console is read-only.", "warn")
        else:
            act = self._acts.verbs[action_id]
            if inspect.iscoroutinefunction(act):
                start(self, partial(act, self, argument), action_id)
            else:
                act(self, argument)

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        start(self, self._submit, "entry")

    async def _submit(self) -> None:
        if await self.entry_line.submit() and self.app.screen is self:
            self.pane(self.current).focus()
        self._show_keys()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        question = self.entry_line.question
        if question is not None and question.change is not None:
            question.change(event.value)

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        self._acts.open_row(self, event.row)

    # What the session tells (session.Listener).

    def link_changed(self, state: LinkState, reason: str) -> None:
        was = self.model.link
        if state == "connecting" and was != "connecting":
            return  # the reason why it is not attached stays until it is
        self.model.link, self.model.reason = state, reason
        self._show_link()
        if state == "attached" and was in ("lost", "silent"):
            self.say("The node is back.", "good")
        elif state == "locked" and was != "locked":
            start(self, partial(self._acts.unlock, self), "unlock", exclusive=True)

    def remembered(self, tracks: tuple[Track, ...]) -> None:
        self.model.take_history(tracks)

    def began(self, status: NodeStatus, events: list[EventView], blobs: tuple[BlobView, ...]) -> None:
        self.model.take_status(status, self.clock())
        self.model.take_blobs(blobs, self.clock(), whole=True)
        self.events.begin(events)
        if status.health and not self.notice_line.words:
            worst = status.health[0]
            self.say(f"{worst.severity}: {worst.text} {worst.remedy}".strip(), _tone(worst.severity))
        self.files.show(self.model, self.clock())
        self.refresh_all()

    def pushed(self, push: Push) -> None:
        self.model.heard = self.clock()
        if self.model.link == "silent":
            self.link_changed("attached", "")
        match push:
            case StatusPush(status=status):
                self.model.take_status(status, self.clock())
                self.refresh_all()
            case EventsPush(events=events, dropped=dropped):
                self.events.append(events, dropped)
            case BlobsPush(blobs=blobs):
                self.model.take_blobs(blobs, self.clock())
                self.files.show(self.model, self.clock())
            case NoticesPush(notices=notices):
                self._take_notices(notices)

    def _take_notices(self, notices: tuple[Notice, ...]) -> None:
        self.model.take_notices(notices)
        self.notices.show(self.model)
        last = notices[-1]
        self.say(f"{last.severity}: {last.text} {last.remedy}".strip(), _tone(last.severity))

    def _check_silence(self) -> None:
        if self.model.is_silent(self.clock()):
            self.link_changed("silent", "The node is there, but has not said anything for a while.")

    def _show_urgent(self) -> None:
        """On every screen; the bell for what is new."""
        if self.model.status is None:
            return
        may_act = not self.session.read_only
        if self.banners.show_urgent(self.model.status, self.keymap, may_act=may_act):
            self.app.bell()
        app = self.app
        assert isinstance(app, Shell)
        app.raise_alarm(self.banners.alarm)

    def _show_link(self) -> None:
        self.banners.show_link(self.model, self.keymap)
        self.query_one("#panes").set_class(self.model.stale, "-stale")
        self.refresh_all()
        self.files.show(self.model, self.clock())

    def _show_tabs(self) -> None:
        first = self.current in PANES[:5]
        line: Line = [(" " if first else "<", "dim")]
        for name in PANES[:5] if first else PANES[4:]:
            tone: Tone = "accent" if name == self.current else "dim"
            line += [(f"{PANES.index(name) + 1} {name.capitalize()}", tone), ("  ", "")]
        if first:
            line[-1] = (" >", "dim")
        self.tabs.set_lines([line])

    def _show_keys(self) -> None:
        if self.entry_line.question is not None:
            question = self.entry_line.question
            tab = [("Tab", question.tab_words)] if question.path or question.tab else []
            self.key_bar.show([("Enter", question.enter), *tab, ("Esc", "leaves")])
            return
        names = PANE_FOOTER.get(self.current, FOOTER)
        actions = [self.keymap.action(name) for name in names]
        if self.session.read_only:
            actions = [action for action in actions if not action.changes]
        self.key_bar.show([(self.keymap.key(action.id), action.short) for action in actions])


def _tone(severity: str) -> Tone:
    return "bad" if severity == "critical" else "warn" if severity == "warning" else ""
