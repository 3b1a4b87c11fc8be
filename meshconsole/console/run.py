"""The console's entry: what the command line calls. Imports Textual only when it really starts."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from meshconsole.console.profile import Colour, GlyphSet, Profile, decide
from meshconsole.control.blocking import call
from meshconsole.control.config import ConfigData, GetConfig
from meshconsole.core.config import Config, ConfigError, with_values
from meshconsole.core.errors import Fatal
from meshconsole.core.sections import ConsoleSection

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from meshconsole.core.setup import FirstRun


@dataclass(frozen=True, slots=True)
class ConsoleOptions:
    """What the person asked for on the command line. None: the configuration or the terminal decides."""

    theme: str | None = None
    colour: Colour | None = None
    glyphs: GlyphSet | Literal["auto"] | None = None
    mouse: bool | None = None
    fps: float | None = None
    read_only: bool = False
    themes: Path | None = None
    """A folder of the person's own themes: the home's."""
    settled: Callable[[], None] | None = None
    """Called when the start is over; the console has nothing of its own to let go of."""
    in_browser: bool = False
    """There is no terminal: Textual's web driver speaks with a page over pipes."""
    keys: Path | None = None
    """The person's own keys: the home's `keys.toml`."""
    no_paths: str = ""
    """Why a path that is typed here is nothing to the node, as on another machine; "" if it is the same."""


def run_console(socket_path: Path, *, options: ConsoleOptions | None = None) -> int:
    """Shows the node behind `socket_path` until the person leaves; the process's exit code.

    Whether the node goes on is asked in the console, which sends Stop itself. Raises Unavailable
    (no node) and Fatal (this terminal cannot show it, or another version runs) before it starts.
    """
    options = options or ConsoleOptions()
    if not options.in_browser:
        _need_terminal()
    wanted = _console_section(socket_path)
    profile = a_page(options, wanted) if options.in_browser else this_terminal(options, wanted)
    _quiet_logging()
    from meshconsole.console.app import Console
    from meshconsole.console.keymap import Keymap, read_keymap

    return Console(
        socket_path,
        profile,
        theme=options.theme or wanted.theme,
        folders=[options.themes] if options.themes else [],
        keymap=read_keymap(options.keys) if options.keys else Keymap(),
        read_only=options.read_only,
        lock_after_s=wanted.lock_after_minutes * 60.0,
        settled=options.settled,
        no_paths=options.no_paths,
    ).begin()


def run_first_run(
    *,
    options: ConsoleOptions | None = None,
    config: Config | None = None,
    suggested_name: str = "",
    check_invite: Callable[[str], str] | None = None,
) -> tuple[FirstRun, str] | None:
    """Asks the owner of a new home; the answers and the passphrase ("": none wanted), or None.

    `config` holds what the file, the environment and flags already say; what it offers is a
    proposal that the owner agrees to here or not. `check_invite` returns "" or what is wrong with it.
    Raises Fatal if this terminal cannot show it or if a signal ended it (with its exit code).
    """
    options = options or ConsoleOptions()
    _need_terminal()
    wanted = (config or Config()).console
    profile = this_terminal(options, wanted)
    _quiet_logging()
    from meshconsole.console.firstrun import Answers, FirstRunApp

    answers = Answers(config or Config(), name=suggested_name)
    app = FirstRunApp(
        profile,
        answers,
        check_invite or (lambda _: ""),
        theme=options.theme or wanted.theme,
        folders=[options.themes] if options.themes else [],
    )
    code = app.begin()
    if code:
        raise Fatal("The first run was ended before it was done. Nothing was kept.", exit_code=code)
    return (answers.result(), answers.passphrase) if app.first_screen.done else None


def this_terminal(options: ConsoleOptions, wanted: ConsoleSection) -> Profile:
    """Raises Fatal."""
    terminal = ""
    with suppress(OSError):
        terminal = os.ttyname(sys.__stdin__.fileno() if sys.__stdin__ else 0)
    return decide(
        os.environ,
        colour=options.colour,
        glyphs=options.glyphs or wanted.glyphs,
        mouse=options.mouse,
        fps=options.fps or wanted.frames_per_second,
        tty=terminal,
    )


def a_page(options: ConsoleOptions, wanted: ConsoleSection) -> Profile:
    """What the terminal in a page can show."""
    return Profile("true", "unicode", mouse=True, fps=options.fps or wanted.frames_per_second)


def _console_section(socket_path: Path) -> ConsoleSection:
    reply = call(socket_path, GetConfig())
    if not isinstance(reply.data, ConfigData):
        return ConsoleSection()  # the home is locked: its looks are not known yet
    try:
        return with_values(Config(), {"console": reply.data.values.get("console", {})}).console
    except ConfigError:
        return ConsoleSection()


def _need_terminal() -> None:
    if not (sys.__stdin__ and sys.__stdin__.isatty() and sys.__stderr__ and sys.__stderr__.isatty()):
        raise Fatal(
            "The console needs a terminal.",
            hint="Without one, use: meshconsole status, peers, events, ... or meshconsole node",
            exit_code=2,
        )


def _quiet_logging() -> None:
    """A log line on the terminal would tear the picture."""
    if not logging.getLogger().handlers:
        logging.getLogger().addHandler(logging.NullHandler())
