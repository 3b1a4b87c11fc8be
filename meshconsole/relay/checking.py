"""Is an offered event what it says it is? Form, id and signature, in one place for every process. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.errors import Refused
from meshconsole.core.verdict import Verdict, refuse
from meshconsole.relay.event import ReadEvent, check_event, read_event
from meshconsole.relay.verify import has_valid_signature

if TYPE_CHECKING:
    from meshconsole.core.event import Event

MISLEADING = refuse("invalid", "the event holds an id that is not its own")
FORGED = refuse("invalid", "the signature is not the author's")


def check(data: bytes | Event, claimed: str, max_bytes: int) -> ReadEvent | Verdict:
    """`claimed` is the id by which the offer goes, "" if it claims none that can be read."""
    try:
        read = read_event(data, max_bytes) if isinstance(data, bytes) else check_event(data, max_bytes)
    except Refused as refused:
        return refuse("invalid", refused.sentence)
    if claimed not in ("", read.event.id):
        return MISLEADING  # what waits for the claimed id must not be told of another event
    return read if has_valid_signature(read) else FORGED
