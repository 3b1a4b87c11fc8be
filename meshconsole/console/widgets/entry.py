"""The line that a person writes in: compose, filter, command, path. One at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.widgets import Input

from meshconsole.core.text import REPLACEMENT, safe

if TYPE_CHECKING:
    from textual.binding import BindingType


class Entry(Input):
    """An Input that neither blinks nor keeps a control character from a paste."""

    BINDINGS: ClassVar[list[BindingType]] = []
    DEFAULT_CSS = """
    Entry { width: 1fr; height: 1; border: none; padding: 0; background: transparent; }
    Entry:focus { border: none; background-tint: transparent; }
    """

    def __init__(
        self,
        value: str = "",
        *,
        placeholder: str = "",
        password: bool = False,
        max_length: int = 4096,
        id: str | None = None,  # noqa: A002 - Textual's own word
        classes: str | None = None,
    ) -> None:
        super().__init__(
            value,
            placeholder,
            password=password,
            max_length=max_length,
            select_on_focus=False,
            compact=True,
            id=id,
            classes=classes,
        )
        self.cursor_blink = False

    def validate_value(self, value: str) -> str:
        # A passphrase is taken as it is: it is never drawn.
        return value if self.password else safe(value).replace(REPLACEMENT, "")
