"""What every full-screen program of the console is: guarded output, clean ends, our themes.

Textual is pinned; the few of its internals used here are covered by tests that run it in a pty.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from typing import TYPE_CHECKING

from rich.color import ColorSystem
from rich.text import Text
from textual import events
from textual.app import App
from textual.filter import ANSIToTruecolor, NoColor
from textual.message import Message
from textual.theme import BUILTIN_THEMES
from textual.theme import Theme as TextualTheme

from meshconsole.console.guard import Guard
from meshconsole.console.keyqueue import KeyQueue
from meshconsole.console.lifeline import lifeline
from meshconsole.console.profile import too_small
from meshconsole.console.themes import COLOURS, DEFAULT_THEME, load_themes, shipped_folder
from meshconsole.console.toosmall import TooSmall
from meshconsole.core.text import safe_lines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from meshconsole.console.keymap import Keymap
    from meshconsole.console.profile import Profile
    from meshconsole.console.themes import Theme

_COLOUR_SYSTEMS = {
    "true": ColorSystem.TRUECOLOR,
    "256": ColorSystem.EIGHT_BIT,
    "16": ColorSystem.STANDARD,
    "mono": ColorSystem.STANDARD,
}

_TERMINALS_OWN = {
    **dict.fromkeys(COLOURS, "ansi_default"),
    "focus": "ansi_cyan",
    "accent": "ansi_cyan",
    "good": "ansi_green",
    "warn": "ansi_yellow",
    "bad": "ansi_red",
}
"""With 16 colours the terminal's own palette is used; greys are not to be relied upon there."""


class Alarm(Message):
    """`Shell.alarm` has changed."""


class Shell(App[None]):
    """Exits with `return_code`; a crash says where, never with which values."""

    CSS_PATH = "style.tcss"
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    ALLOW_IN_MAXIMIZED_VIEW = ""
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 - Textual declares it on instances
        (0, "-tiny"),
        (60, "-narrow"),
        (120, "-wide"),
    ]
    VERTICAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-low"),
        (20, "-short"),
        (30, "-tall"),
        (40, "-high"),
    ]

    def __init__(self, profile: Profile, *, theme: str = DEFAULT_THEME, folders: Sequence[Path] = ()) -> None:
        ansi = profile.colour in ("16", "mono")
        super().__init__(ansi_color=ansi or None)
        self.profile = profile
        self.no_color = profile.colour == "mono"
        self._filters = [one for one in self._filters if isinstance(one, ANSIToTruecolor)]
        if self.no_color:
            self._filters.append(NoColor())
        self._filters.append(Guard(profile.glyph_set))
        self.console._color_system = _COLOUR_SYSTEMS[profile.colour]
        self.animation_level = "none"
        self.keymap: Keymap | None = None
        """The person's keys, for dialogs; None where there are no actions."""
        self.alarm = ""
        """What must be seen whatever screen is in front."""
        self.keys = KeyQueue(self, super().on_event)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.themes, self.theme_problems = load_themes([shipped_folder(), *folders])
        for known in self.themes.values():
            self.register_theme(_textual_theme(known, ansi=ansi))
        self.use_theme(theme)
        self.add_class(f"-{profile.glyph_set}", f"-colour-{profile.colour}")

    def use_theme(self, name: str) -> None:
        """Falls back to the default for a name that is gone."""
        known = self.themes.get(name) or self.themes.get(DEFAULT_THEME)
        if known is None:
            self.theme_problems.append("No themes are installed.")
        elif self.theme != f"mc-{known.name}":
            self.theme = f"mc-{known.name}"

    def raise_alarm(self, words: str) -> None:
        """Above every dialog that is open and that will be; "" ends it."""
        if words != self.alarm:
            self.alarm = words
            for screen in self.screen_stack:
                screen.post_message(Alarm())

    def begin(self) -> int:
        """Runs until the person or a signal ends it; the process's exit code."""
        terminal = sys.__stdin__.fileno() if sys.__stdin__ is not None else 0
        with lifeline(self.leave, terminal):
            self.run(mouse=self.profile.mouse)
        return self.return_code or 0

    def leave(self, code: int) -> None:
        """Ends the program; may be called from a thread or a signal handler."""
        if self.loop is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(lambda: self.exit(return_code=code))

    def lock(self) -> bool:
        """Hides everything until the passphrase is given. False where that cannot be."""
        return False

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key) and not event.is_forwarded:
            await self.keys.put(event)
        else:
            await super().on_event(event)

    def on_mount(self) -> None:
        self.loop = asyncio.get_running_loop()

    def on_resize(self, event: events.Resize) -> None:
        sentence = too_small(event.size.width, event.size.height)
        covering = isinstance(self.screen, TooSmall)
        if sentence and not covering:
            self.push_screen(TooSmall())
        elif not sentence and covering:
            self.pop_screen()

    def _fatal_error(self) -> None:
        # Textual's own prints the values of local variables, and they may be keys.
        error = sys.exc_info()[1] or self._exception
        lines = [] if error is None else safe_lines("".join(traceback.format_exception(error)))
        lines += ["", "The console stopped because of a fault of its own. The node was not touched."]
        self._exit_renderables.append(Text("\n".join(lines)))
        self._close_messages_no_wait()


def _textual_theme(theme: Theme, *, ansi: bool) -> TextualTheme:
    colours = _TERMINALS_OWN if ansi else theme.colours
    return TextualTheme(
        name=f"mc-{theme.name}",
        primary=colours["focus"],
        secondary=colours["accent"],
        accent=colours["accent"],
        warning=colours["warn"],
        error=colours["bad"],
        success=colours["good"],
        foreground=colours["text"],
        background=colours["background"],
        surface=colours["background"],
        panel=colours["panel"],
        dark=theme.dark,
        ansi=ansi,
        variables={
            # Widgets of Textual refer to these as soon as a theme is one of the terminal's own colours.
            **(BUILTIN_THEMES["ansi-dark" if theme.dark else "ansi-light"].variables if ansi else {}),
            **{f"mc-{name}": colour for name, colour in colours.items()},
            "input-cursor-background": colours["text"],
            "input-cursor-foreground": colours["background"],
            "input-cursor-text-style": "reverse" if ansi else "none",
            "input-selection-background": colours["cursor"],
        },
    )
