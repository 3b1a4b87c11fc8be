"""The audit log: read, checked, written out, and what other commands have written to it. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from meshconsole.control.wire import MAX_LISTED, AbsolutePath, Message

OfflineAct = Literal["identity-exported", "keystore-changed"]


class AuditTail(Message, frozen=True):
    """The newest lines of the audit log, oldest first. Answered with `LinesData`."""

    limit: Annotated[int, Meta(ge=1, le=MAX_LISTED)] = 100


class VerifyAudit(Message, frozen=True):
    """Checks the whole audit log. Answered with `LinesData`; refused with the first bad record's place."""


class ExportAudit(Message, frozen=True):
    """Writes the audit log as JSON lines, readable and checkable without the key. Answered with
    `CountsData`."""

    path: AbsolutePath


class AcknowledgeSetBack(Message, frozen=True):
    """The operator knows why the home was set back; it goes on from its present state."""


class RecordAct(Message, frozen=True):
    """Writes to the audit log what a command did with the home's files, whose node need not run for it."""

    act: OfflineAct
    what: Annotated[str, Meta(max_length=64)]


AuditCommand = AuditTail | VerifyAudit | ExportAudit | AcknowledgeSetBack | RecordAct
