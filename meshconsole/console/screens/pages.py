"""The pages of the first run, one question each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from textual.containers import Vertical

from meshconsole.console.choices import CAPABILITIES, FIRST_RUN, Setting, in_words, next_value, value_of
from meshconsole.console.screens.dialog import Ask, Choice
from meshconsole.console.widgets.entry import Entry
from meshconsole.console.widgets.form import Form
from meshconsole.console.widgets.lines import Column, Lines
from meshconsole.console.widgets.prose import Prose
from meshconsole.core.config import Config, ConfigError, to_values, with_values
from meshconsole.core.setup import OPT_INS, FirstRun
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual.app import ComposeResult
    from textual.widget import Widget

    from meshconsole.console.profile import Profile

TeamChoice = Literal["create", "join", "later"]

MIN_PASSPHRASE = 8


@dataclass(slots=True)
class Answers:
    """What has been answered so far."""

    config: Config
    name: str = ""
    team: TeamChoice = "create"
    team_name: str = ""
    invite: str = ""
    passphrase: str = field(default="", repr=False)

    def set(self, setting: Setting, value: object) -> None:
        """Raises ConfigError."""
        self.config = with_values(self.config, {setting.section: {setting.name: value}}, "here")

    def result(self) -> FirstRun:
        return FirstRun(
            name=self.name,
            team=self.team,
            team_name=self.team_name if self.team == "create" else "",
            invite=self.invite if self.team == "join" else "",
            config=with_values(self.config, {"node": {"name": self.name}}, "here"),
        )


class Page(Vertical):
    """One question. `take` stores the answer and returns "" or the sentence that says why not."""

    DEFAULT_CSS = "Page { height: 1fr; padding: 0 1; } Page Prose { margin-bottom: 1; }"
    heading = ""
    keys: tuple[tuple[str, str], ...] = (("Enter", "goes on"), ("Esc", "goes back"))

    def __init__(self, answers: Answers, profile: Profile) -> None:
        super().__init__()
        self.answers = answers
        self.profile = profile

    def take(self) -> str:
        return ""

    def first_focus(self) -> Widget | None:
        return next(iter([*self.query(Entry), *self.query(Lines)]), None)


class NamePage(Page):
    heading = "Your name"

    def compose(self) -> ComposeResult:
        yield Prose(
            [
                "This device will be a node of its own: it keeps what the team writes, and passes it on.",
                "",
                "What should teammates call it? A call sign, or your name and the device.",
            ]
        )
        yield Entry(self.answers.name, placeholder="for example: falcon-3", max_length=64, classes="field")

    def take(self) -> str:
        name = self.query_one(Entry).value.strip()
        self.answers.name = name
        return "" if name else "A name is needed; it can be changed later."


TEAM_CHOICES = (
    Choice("create", "Create a team", help="and invite others to it"),
    Choice("join", "Join a team", help="with the invite that a teammate shows you"),
    Choice("later", "Later", help="this node stays alone for now"),
)


class TeamPage(Page):
    heading = "Your team"
    keys = (("Up/Down", "choose"), ("Enter", "goes on"), ("Esc", "goes back"))

    def compose(self) -> ComposeResult:
        yield Prose(["Only devices of one team read each other. Which team is this one of?"])
        self.lines: Lines[Choice] = Lines(
            [
                Column("", 15, lambda choice: (choice.words, "strong")),
                Column("", 0, lambda choice: (choice.help, "dim")),
            ],
            key=lambda choice: choice.answer,
            profile=self.profile,
            header=False,
        )
        self.lines.replace(TEAM_CHOICES)
        self.lines.listing.to([choice.answer for choice in TEAM_CHOICES].index(self.answers.team))
        yield self.lines

    def take(self) -> str:
        choices: tuple[TeamChoice, ...] = ("create", "join", "later")
        self.answers.team = choices[self.lines.listing.cursor]
        return ""


class TeamNamePage(Page):
    heading = "Name of the team"

    def compose(self) -> ComposeResult:
        yield Prose(["Everybody in the team sees this name. This device becomes its first admin."])
        yield Entry(self.answers.team_name, placeholder="for example: Falcon", max_length=64, classes="field")

    def take(self) -> str:
        self.answers.team_name = self.query_one(Entry).value.strip()
        return "" if self.answers.team_name else "The team needs a name."


class InvitePage(Page):
    heading = "The invite"

    def __init__(self, answers: Answers, profile: Profile, check: Callable[[str], str]) -> None:
        super().__init__(answers, profile)
        self.check = check

    def compose(self) -> ComposeResult:
        yield Prose(
            [
                "On a teammate's console the key i shows an invite. Type its text here, or scan the code and "
                "paste it. Capitals, small letters and spaces make no difference."
            ]
        )
        yield Entry(self.answers.invite, placeholder="MC1...", max_length=1024, classes="field")

    def take(self) -> str:
        text = "".join(self.query_one(Entry).value.split()).upper()
        self.answers.invite = text
        return self.check(text) if text else "Without an invite there is no joining; Esc goes back."


class PassphrasePage(Page):
    heading = "Passphrase"

    def __init__(self, answers: Answers, profile: Profile) -> None:
        super().__init__(answers, profile)
        self.warned = False

    def compose(self) -> ComposeResult:
        yield Prose(
            [
                "Everything this node keeps is encrypted, and the passphrase opens it at every start. "
                "Nobody can recover it. Four or five random words are better than one clever one.",
                "",
                "Twice, please:",
            ]
        )
        yield Entry(password=True, classes="field")
        yield Entry(password=True, classes="field")

    def take(self) -> str:
        first, second = (entry.value for entry in self.query(Entry))
        if first != second:
            return "The two are not the same."
        if not first and not self.warned:
            self.warned = True
            return (
                "Without one, whoever has this device reads everything. That suits an unattended relay. "
                "Enter again to go on without."
            )
        if first and len(first) < MIN_PASSPHRASE:
            return f"At least {MIN_PASSPHRASE} characters, please."
        self.answers.passphrase = first
        return ""


class FormPage(Page):
    """Settings that are switched or typed."""

    keys: tuple[tuple[str, str], ...] = (("Space", "changes"), ("Enter", "goes on"), ("Esc", "goes back"))
    settings: Sequence[Setting] = ()
    intro = ""

    def compose(self) -> ComposeResult:
        yield Prose([self.intro])
        self.form = Form(self.settings, self.profile)
        yield self.form

    def on_mount(self) -> None:
        self.form.show(to_values(self.answers.config))

    async def change(self) -> str:
        """Changes the setting under the cursor; the sentence if its new value does not fit."""
        row = self.form.current
        if row is None:
            return ""
        setting, value = row
        new = next_value(setting, value)
        if new is None:
            unit = f" In {setting.unit}." if setting.unit else ""
            question = Ask(setting.title, [setting.help + unit], value=str(value))
            typed = await self.app.push_screen_wait(question)
            new = typed
        if new is None:
            return ""
        try:
            self.answers.set(setting, new)
        except ConfigError as error:
            return safe(error.problems[0].reason)
        self.form.show(to_values(self.answers.config))
        return ""


class OptInPage(FormPage):
    heading = "What you offer to others"
    keys = (("Space", "on or off"), ("a", "all"), ("n", "none"), ("Enter", "agrees"), ("Esc", "goes back"))
    settings = CAPABILITIES
    intro = "Nothing is offered before you agree here, and then to your team only. Change it at any time."

    def switch_all(self, on: bool) -> None:
        for setting in self.settings:
            self.answers.set(setting, on)
        self.form.show(to_values(self.answers.config))


class LimitsPage(FormPage):
    heading = "Limits and privacy"
    settings = FIRST_RUN
    intro = "The node never goes beyond these. All of them can be changed later, while it runs."


class SummaryPage(Page):
    heading = "Is this right?"
    keys = (("Enter", "creates the node"), ("Esc", "goes back"))

    def compose(self) -> ComposeResult:
        answers = self.answers
        values = to_values(answers.config)
        team = {
            "create": f"creates {answers.team_name}",
            "join": "joins with the invite",
            "later": "none for now",
        }[answers.team]
        offers = [opt_in.title for opt_in in OPT_INS if values["capabilities"][opt_in.key]]
        limits = ", ".join(
            f"{setting.title.lower()} {in_words(setting, value_of(values, setting))}"
            for setting in FIRST_RUN
            if setting.section == "limits"
        )
        private = answers.config.privacy.share_with_team_only
        yield Prose(
            [
                f"Name: {safe(answers.name)}",
                f"Team: {safe(team)}",
                f"Passphrase: {'asked for at every start' if answers.passphrase else 'none'}",
                f"Offers: {', '.join(offers) or 'nothing to others yet'}",
                f"Limits: {limits}",
                f"Open to: {'the team only' if private else 'everybody who can reach it'}",
                "",
                "Every answer can be changed later: key s in the console, or meshconsole config set.",
            ]
        )
