"""Settings: every answer of the first run, changed on the running node."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from meshconsole.console.choices import ALL, Setting, in_words, next_value
from meshconsole.console.screens.dialog import MOVES, Ask, Dialog
from meshconsole.console.widgets.form import Form
from meshconsole.console.widgets.prose import Prose
from meshconsole.console.work import start
from meshconsole.control.config import ConfigData, SetConfig
from meshconsole.control.messages import Subscribe
from meshconsole.core.errors import MeshconsoleError
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from meshconsole.console.desk import Desk


class Settings(Dialog[None]):
    """The node checks, applies and saves each change; a refused one leaves the value as it was."""

    hint = "Enter changes, Esc leaves"

    BINDINGS: ClassVar[list[BindingType]] = [
        *MOVES,
        Binding("enter,space,l", "change", show=False),
        Binding("q,h", "leave", show=False),
    ]

    def __init__(self, data: ConfigData, desk: Desk) -> None:
        super().__init__("Settings")
        self.data = data
        self.desk = desk
        self.form = Form(ALL, desk.profile)
        self.verdict = Prose([self._usage()])
        self.add_class("-large")

    def compose_body(self) -> ComposeResult:
        yield self.form
        yield self.verdict

    def on_mount(self) -> None:
        self.form.show(self.data.values, self.data.waiting)
        self.form.lines.focus()

    def on_lines_chosen(self) -> None:
        self.action_change()

    def action_change(self) -> None:
        if self.desk.session.read_only:
            self.verdict.say(["This console is read-only."])
        elif self.form.current is not None:
            start(self, partial(self._change, *self.form.current), "change", exclusive=True)

    async def _change(self, setting: Setting, value: object) -> None:
        themes = tuple(sorted(getattr(self.app, "themes", ()))) if setting.key == "console.theme" else ()
        new = next_value(setting, value, themes)
        if new is None:
            unit = f" In {setting.unit}." if setting.unit else ""
            shown = in_words(setting, value) if isinstance(value, list | tuple) else str(value)
            question = Ask(setting.title, [setting.help + unit], value=shown)
            typed = await self.app.push_screen_wait(question)
            new = typed
        if new is not None and new != value:
            await self._set(setting, new)

    async def _set(self, setting: Setting, value: object) -> None:
        try:
            reply = await self.desk.session.call(SetConfig({setting.section: {setting.name: value}}))
        except MeshconsoleError as error:
            self.verdict.say([safe(line) for line in str(error).splitlines()])
            return
        if isinstance(reply.data, ConfigData):
            self.data = reply.data
            self.form.show(self.data.values, self.data.waiting)
        later = " It applies at the node's next start." if setting.key in self.data.waiting else ""
        self.verdict.say([safe(reply.verdict.sentence) or f"{setting.title}: saved.{later}"])
        await self._apply_here(setting, value)

    async def _apply_here(self, setting: Setting, value: object) -> None:
        """What this console itself can follow at once."""
        if setting.key == "console.theme":
            self.desk.action_do("app.theme", str(value))
        elif setting.key == "console.frames_per_second":
            fps = min(float(str(value)), self.desk.profile.fps)
            await self.desk.session.call(Subscribe(fps))

    def _usage(self) -> str:
        return "A change applies at once and is saved, unless it says otherwise."
