"""Where a console was left. The node keeps it, encrypted: what people filter by is their own. Pure."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from meshconsole.control.wire import Message

Word = Annotated[str, Meta(max_length=16)]


class KeepDesk(Message, frozen=True):
    """`row` is the id or key of the row under the cursor, "" for a list that is followed at its end."""

    pane: Word
    zoomed: bool = False
    filter: Annotated[str, Meta(max_length=256)] = ""
    row: Annotated[str, Meta(max_length=256)] = ""


class RecallDesk(Message, frozen=True):
    """Answered with `DeskData`, or without data where nothing was kept."""


class DeskData(Message, frozen=True):
    desk: KeepDesk


DeskCommand = KeepDesk | RecallDesk
