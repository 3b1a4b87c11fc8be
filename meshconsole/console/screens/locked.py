"""The console that nobody has touched for a while: it shows nothing until the home's passphrase is given.

It keeps out who sits down at this terminal. Whoever has the user's shell has the node all the same.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from meshconsole.console.screens.dialog import Dialog
from meshconsole.console.widgets.entry import Entry
from meshconsole.console.widgets.prose import Prose
from meshconsole.console.work import start
from meshconsole.core.errors import MeshconsoleError
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from textual.app import ComposeResult
    from textual.widgets import Input

SENTENCE = "This console has locked itself. The node works on."


class Locked(Dialog[None]):
    """Covers everything. Esc does not leave it; Ctrl+Q leaves the console."""

    hint = "Enter opens, Ctrl+Q leaves the console"

    def __init__(self, check: Callable[[str], Awaitable[None]]) -> None:
        """`check` raises a MeshconsoleError for anything but the right passphrase."""
        super().__init__("Locked", [SENTENCE, "The passphrase of this home opens it."])
        self._check = check

    def compose_body(self) -> ComposeResult:
        yield Entry(password=True, max_length=1024, classes="field")

    def action_leave(self) -> None:
        """Stays."""

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        given = event.value
        self.query_one(Entry).value = ""
        if given:
            self.query_one(Prose).say([SENTENCE, "Trying."])
            start(self, partial(self._try, given), "open", exclusive=True)

    async def _try(self, given: str) -> None:
        try:
            await self._check(given)
        except MeshconsoleError as error:
            self.query_one(Prose).say([SENTENCE, safe(str(error))])
        else:
            self.dismiss(None)
