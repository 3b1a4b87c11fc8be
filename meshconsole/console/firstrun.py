"""The first run: who are you, which team, which passphrase, what do you offer, within which limits.

A page each, nothing kept until the last one is confirmed. Nothing is offered to others
before the owner has agreed here, and every page says that its answer can be changed later.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen

from meshconsole.console.screens.dialog import MOVES
from meshconsole.console.screens.pages import (
    Answers,
    FormPage,
    InvitePage,
    LimitsPage,
    NamePage,
    OptInPage,
    Page,
    PassphrasePage,
    SummaryPage,
    TeamChoice,
    TeamNamePage,
    TeamPage,
)
from meshconsole.console.shell import Shell
from meshconsole.console.widgets.entry import Entry
from meshconsole.console.widgets.keybar import KeyBar
from meshconsole.console.widgets.lines import Lines
from meshconsole.console.widgets.prose import Prose
from meshconsole.console.work import start

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from textual.app import ComposeResult
    from textual.widgets import Input

    from meshconsole.console.profile import Profile

__all__ = ["Answers", "FirstRunApp", "FirstRunScreen"]


class FirstRunScreen(Screen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        *MOVES,
        Binding("enter", "forward", show=False),
        Binding("escape", "back", show=False),
        Binding("space", "change", show=False),
        Binding("a", "switch_all(True)", show=False),
        Binding("n", "switch_all(False)", show=False),
    ]

    def __init__(self, answers: Answers, profile: Profile, check_invite: Callable[[str], str]) -> None:
        super().__init__()
        self.answers = answers
        self.profile = profile
        self.check_invite = check_invite
        self.step = 0
        self.done = False
        self.problem = Prose([])
        self.problem.add_class("problem")
        self.key_bar = KeyBar()

    def pages(self) -> list[type[Page]]:
        more: dict[TeamChoice, list[type[Page]]] = {
            "create": [TeamNamePage],
            "join": [InvitePage],
            "later": [],
        }
        return [
            NamePage,
            TeamPage,
            *more[self.answers.team],
            PassphrasePage,
            OptInPage,
            LimitsPage,
            SummaryPage,
        ]

    @property
    def page(self) -> Page:
        return self.query_one(Page)

    def compose(self) -> ComposeResult:
        with Vertical(id="box", classes="first-run"):
            yield self._make()
            yield self.problem
        yield self.key_bar

    def on_mount(self) -> None:
        self._dress()

    # Each page is new, so going back shows what was answered, and a passphrase has to be typed again.

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        entries = list(self.page.query(Entry))
        if event.input is not entries[-1]:
            position = next(i for i, entry in enumerate(entries) if entry is event.input)
            entries[position + 1].focus()
        else:
            await self.action_forward()

    async def action_forward(self) -> None:
        problem = self.page.take()
        self.problem.say([problem] if problem else [])
        if problem:
            return
        if self.step == len(self.pages()) - 1:
            self.done = True
            self.app.exit()
            return
        self.step += 1
        await self._turn()

    async def action_back(self) -> None:
        self.problem.say([])
        if self.step == 0:
            self.app.exit()
            return
        self.step -= 1
        await self._turn()

    def action_change(self) -> None:
        if isinstance(self.page, FormPage):
            start(self, partial(self._change, self.page), "change", exclusive=True)

    async def _change(self, page: FormPage) -> None:
        problem = await page.change()
        self.problem.say([problem] if problem else [])

    def action_switch_all(self, on: bool) -> None:
        if isinstance(self.page, OptInPage):
            self.page.switch_all(on)

    def action_move(self, rows: int) -> None:
        for lines in self.page.query(Lines):
            lines.move(rows)

    def action_page(self, pages: int) -> None:
        for lines in self.page.query(Lines):
            lines.move_page(pages)

    def action_edge(self, end: int) -> None:
        for lines in self.page.query(Lines):
            (lines.to_end if end else lines.to_start)()

    def _make(self) -> Page:
        page = self.pages()[self.step]
        if issubclass(page, InvitePage):
            return page(self.answers, self.profile, self.check_invite)
        return page(self.answers, self.profile)

    async def _turn(self) -> None:
        await self.page.remove()
        await self.query_one("#box").mount(self._make(), before=0)
        self._dress()

    def _dress(self) -> None:
        pages = self.pages()
        title = f"{self.page.heading} ({self.step + 1} of {len(pages)})"
        self.query_one("#box").border_title = Content(title)
        self.key_bar.show(self.page.keys)
        focus = self.page.first_focus()
        if focus is not None:
            focus.focus()


class FirstRunApp(Shell):
    TITLE = "meshconsole"

    def __init__(
        self,
        profile: Profile,
        answers: Answers,
        check_invite: Callable[[str], str],
        *,
        theme: str,
        folders: Sequence[Path] = (),
    ) -> None:
        super().__init__(profile, theme=theme, folders=folders)
        self.first_screen = FirstRunScreen(answers, profile, check_invite)

    def get_default_screen(self) -> FirstRunScreen:
        return self.first_screen
