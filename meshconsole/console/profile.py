"""What this terminal can show, decided once, before the application exists. Pure.

Colour {true, 256, 16, mono} x glyphs {unicode, console, ascii}, the frame rate and the mouse.
Textual fixes its colour filters when an App is built, so nothing here may change later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from meshconsole.core.errors import Fatal

if TYPE_CHECKING:
    from collections.abc import Mapping

Colour = Literal["true", "256", "16", "mono"]
GlyphSet = Literal["unicode", "console", "ascii"]

MIN_WIDTH, MIN_HEIGHT = 50, 16
"""The smallest terminal that is laid out; below it a sentence says so."""

SLOWEST_FPS, FASTEST_FPS = 0.1, 10.0
"""What a node serves."""
SSH_FPS = 1.0
SERIAL_FPS = 0.5
"""A full repaint is about 4 kB; a serial line of 115200 baud carries 11 kB/s."""


@dataclass(frozen=True, slots=True)
class Glyphs:
    """Signs beside words, never instead of them."""

    bar: str
    rest: str
    spark: str
    up: str
    suspect: str
    connecting: str
    down: str
    thumb: str
    dot: str


GLYPHS: dict[GlyphSet, Glyphs] = {
    "unicode": Glyphs("━", "─", " ▁▂▃▄▅▆▇█", "●", "◐", "○", "\N{MULTIPLICATION SIGN}", "┃", "·"),
    # What the fonts of Debian's console-setup hold: no eighth blocks, no heavy lines.
    "console": Glyphs("█", "░", " ░▒█", "●", "○", "°", "\N{MULTIPLICATION SIGN}", "█", "·"),
    "ascii": Glyphs("#", ".", " .:-=+*#", "*", "?", "o", "x", "#", "-"),
}


@dataclass(frozen=True, slots=True)
class Profile:
    colour: Colour
    glyph_set: GlyphSet
    mouse: bool
    fps: float

    @property
    def glyphs(self) -> Glyphs:
        return GLYPHS[self.glyph_set]


def decide(
    environment: Mapping[str, str],
    *,
    colour: Colour | None = None,
    glyphs: GlyphSet | Literal["auto"] = "auto",
    mouse: bool | None = None,
    fps: float = 4.0,
    tty: str = "",
) -> Profile:
    """The profile of a terminal; arguments that are set win. `tty` is its device, e.g. "/dev/ttyS0".

    Raises Fatal for a terminal that cannot place a cursor.
    """
    term = environment.get("TERM", "")
    if term in ("", "dumb", "unknown"):
        raise Fatal(
            f'This terminal (TERM="{term}") cannot show the console.',
            hint="Use the plain commands instead, such as: meshconsole status",
            exit_code=2,
        )
    remote = bool(environment.get("SSH_CONNECTION") or environment.get("SSH_TTY"))
    serial = tty.removeprefix("/dev/").startswith(("ttyS", "ttyAMA", "ttyUSB", "ttyACM"))
    return Profile(
        colour=colour or _colour(environment, term),
        glyph_set=_glyphs(environment, term) if glyphs == "auto" else glyphs,
        # A mouse that the program takes cannot select text for the local clipboard any more.
        # The Linux console has none without a daemon, and prints the shape of the pointer as text.
        mouse=not (remote or serial or term == "linux") if mouse is None else mouse,
        fps=max(SLOWEST_FPS, min(fps, SERIAL_FPS if serial else SSH_FPS if remote else FASTEST_FPS)),
    )


def too_small(width: int, height: int) -> str:
    """The sentence for a terminal below the minimum, "" otherwise."""
    if width >= MIN_WIDTH and height >= MIN_HEIGHT:
        return ""
    return f"Too small: {width}x{height}. Please enlarge to {MIN_WIDTH}x{MIN_HEIGHT}. Ctrl+Q leaves."


def _colour(environment: Mapping[str, str], term: str) -> Colour:
    if environment.get("NO_COLOR"):
        return "mono"
    if term.startswith(("vt", "xterm-mono")) or term.endswith("-m"):
        return "mono"
    if environment.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return "true"
    if "direct" in term or any(name in term for name in _TRUE_COLOUR_TERMINALS):
        return "true"
    return "256" if "256" in term else "16"


_TRUE_COLOUR_TERMINALS = ("kitty", "ghostty", "alacritty", "wezterm", "foot", "contour")


def _glyphs(environment: Mapping[str, str], term: str) -> GlyphSet:
    # POSIX: the first of these that is set and not empty decides.
    locale = environment.get("LC_ALL") or environment.get("LC_CTYPE") or environment.get("LANG") or ""
    if "utf8" not in locale.lower().replace("-", ""):
        return "ascii"
    return "console" if term == "linux" else "unicode"
