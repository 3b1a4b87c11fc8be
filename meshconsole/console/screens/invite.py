"""The invite: its text to type, its QR code to scan, and how long it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.strip import Strip
from textual.widget import Widget

from meshconsole.console.widgets.prose import Prose
from meshconsole.console.words import moment_in_words
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from meshconsole.console.profile import GlyphSet, Profile
    from meshconsole.control.team import InviteData

QUIET = 2
"""Light modules around the code. The standard asks for 4; readers are content with 2."""

Matrix = list[list[bool]]


def qr_matrix(text: str) -> Matrix:
    """Rows of modules, True is dark, with the quiet zone."""
    import segno  # brings a third of the standard library's network code with it

    code = segno.make(text, error="l", micro=False, boost_error=False)
    rows = [[bool(module) for module in row] for row in code.matrix]
    size = len(rows) + 2 * QUIET
    side = [False] * QUIET
    empty = [[False] * size for _ in range(QUIET)]
    return [*empty, *([*side, *row, *side] for row in rows), *empty]


def qr_lines(matrix: Matrix, glyph_set: GlyphSet) -> list[str]:
    """Text whose inked parts are the light modules: right on a dark terminal without any colour."""
    if glyph_set != "unicode":
        ink = "#" if glyph_set == "ascii" else "\N{FULL BLOCK}"
        return ["".join("  " if dark else ink * 2 for dark in row) for row in matrix]
    padded = [*matrix, [True] * len(matrix)] if len(matrix) % 2 else matrix
    signs = {
        (True, True): " ",
        (True, False): "\N{LOWER HALF BLOCK}",
        (False, True): "\N{UPPER HALF BLOCK}",
        (False, False): "\N{FULL BLOCK}",
    }
    return [
        "".join(signs[pair] for pair in zip(upper, lower, strict=True))
        for upper, lower in zip(padded[::2], padded[1::2], strict=True)
    ]


class Code(Widget):
    """Black and white, whatever the theme, where there is colour at all."""

    DEFAULT_CSS = "Code { width: auto; height: auto; }"

    def __init__(self, text: str, profile: Profile) -> None:
        super().__init__()
        self.lines = qr_lines(qr_matrix(text), profile.glyph_set)
        self.ink = Style() if profile.colour == "mono" else Style(color="white", bgcolor="black")
        if profile.colour in ("true", "256"):
            self.ink = Style(color="#ffffff", bgcolor="#000000")

    @property
    def need(self) -> tuple[int, int]:
        """Columns and lines."""
        return max(len(line) for line in self.lines), len(self.lines)

    def get_content_width(self, container: object, viewport: object) -> int:
        return self.need[0]

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        return self.need[1]

    def render_line(self, y: int) -> Strip:
        if y >= len(self.lines):
            return Strip.blank(self.size.width, self.rich_style)
        line = Strip([Segment(self.lines[y], self.rich_style + self.ink)])
        return line.adjust_cell_length(self.size.width, self.rich_style)


class InviteScreen(ModalScreen[None]):
    """Takes the whole screen: the code needs every line there is."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,h,enter,i", "leave", show=False),
        Binding("y", "copy", show=False),
    ]

    def __init__(self, invite: InviteData, profile: Profile, now: float) -> None:
        super().__init__()
        self.now = now
        self.invite = invite
        self.code = Code(invite.text, profile)
        self.prose = Prose([])

    def compose(self) -> ComposeResult:
        with Horizontal(id="invite"):
            yield self.code
            with Vertical(id="invite-words"):
                yield self.prose

    def on_mount(self) -> None:
        self._fit()

    def on_resize(self) -> None:
        self._fit()

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self.invite.text)
        self._fit("Sent to the terminal's clipboard, if it allows that.")

    def _fit(self, note: str = "") -> None:
        columns, lines = self.code.need
        width, height = self.app.size
        room = width - columns - 2
        self.code.display = height >= lines and room >= 24
        smaller = f"The QR code needs {columns + 26}x{lines}; this terminal is {width}x{height}."
        minutes = max(0, round((self.invite.expires - self.now) / 60))
        self.prose.say(
            [
                "INVITE",
                "",
                safe(self.invite.text),
                "",
                f"Holds {minutes} min, until {moment_in_words(self.invite.expires)[11:16]}, for one device.",
                "Whoever sees it can join: show it to that person only.",
                "",
                "There: meshconsole, join a team, and type it or scan it.",
                f"Reached at {', '.join(self.invite.addresses) or 'no address'}.",
                "",
                *([] if self.code.display else [smaller, ""]),
                *([note, ""] if note else []),
                "y copies  Esc leaves",
            ]
        )
