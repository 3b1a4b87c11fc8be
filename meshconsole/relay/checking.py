"""Is an offered event what it says it is? Form, id and signature, in one place for every process. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from meshconsole.core.errors import Refused
from meshconsole.core.verdict import Verdict, refuse
from meshconsole.relay.event import ReadEvent, check_event, read_event
from meshconsole.relay.verify import has_valid_signature

if TYPE_CHECKING:
    from meshconsole.core.event import Event

MISLEADING = refuse("invalid", "the event holds an id that is not its own")
FORGED = refuse("invalid", "the signature is not the author's")


class Question(Protocol):
    """An event as it was offered. `claimed` is the id by which it goes, "" if it claims none that can be
    read."""

    @property
    def data(self) -> bytes | Event: ...

    @property
    def claimed(self) -> str: ...

    @property
    def max_bytes(self) -> int: ...


def check(question: Question) -> ReadEvent | Verdict:
    read = check_form(question)
    return read if isinstance(read, Verdict) or has_valid_signature(read) else FORGED


def check_form(question: Question) -> ReadEvent | Verdict:
    """Everything but the signature."""
    data = question.data
    try:
        if isinstance(data, bytes):
            read = read_event(data, question.max_bytes)
        else:
            read = check_event(data, question.max_bytes)
    except Refused as refused:
        return refuse("invalid", refused.sentence)
    if question.claimed not in ("", read.event.id):
        return MISLEADING  # what waits for the claimed id must not be told of another event
    return read
