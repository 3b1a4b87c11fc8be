"""How far this home has come: kept beside the keystore, so that a database or an audit log that was set
back to an earlier day does not pass unnoticed.

Who puts back the whole home, this file included, is found out by the checkpoints that teammates hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import CorruptData, RemoteError
from meshconsole.crypto.private_file import read_bounded, write_private
from meshconsole.crypto.sealing import seal, unseal

if TYPE_CHECKING:
    from pathlib import Path

    from meshconsole.node.audit.log import Places
    from meshconsole.team.checkpoints import Checkpoint

CONTEXT = b"mc/watermark/v1"
MAX_LEN = 4096


class Watermark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The audit log's newest record, the roster's entries and highest epoch, and the last checkpoint."""

    audit_seq: int = 0
    audit_head: str = ""
    entries: int = 0
    epoch: int = 0
    checkpoint: int = 0
    forgiven: int = 0
    """Checkpoints of this device up to this number may speak of a log that it has no more: the operator
    knows why."""


def read_watermark(path: Path, key: bytes) -> Watermark | None:
    """None if it is gone: a home has one from its first moment. Raises CorruptData."""
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(unseal(key, CONTEXT, read_bounded(path, MAX_LEN)), type=Watermark)
    except (RemoteError, msgspec.MsgspecError) as error:
        raise CorruptData(
            f"{path} was changed or belongs to another home.",
            hint="Move it away if you know why; the node then says that it was set back.",
        ) from error


def write_watermark(path: Path, key: bytes, mark: Watermark) -> None:
    """Durable on return. Raises the errors of `write_private`."""
    write_private(path, seal(key, CONTEXT, msgspec.json.encode(mark)))


def log_was_set_back(mark: Watermark, places: Places) -> str:
    """What is wrong with the audit log, "" if it still holds what it held."""
    if not mark.audit_seq:
        return ""
    if places.last < mark.audit_seq:
        return f"The audit log ends at record {places.last}; it had {mark.audit_seq}."
    if not places.holds(mark.audit_seq, mark.audit_head):
        return f"Record {mark.audit_seq} of the audit log is not the one that stood there."
    return ""


def stands_in(checkpoint: Checkpoint, places: Places) -> bool:
    """Whether the log still holds what the checkpoint vouches for, as far as it goes back."""
    return places.holds(checkpoint.audit_seq, checkpoint.audit_head)


def roster_was_set_back(mark: Watermark, entries: int, epoch: int) -> str:
    """What is wrong with the stored roster, "" if it is as new as it was."""
    if entries < mark.entries:
        return f"The database holds {entries} roster entries; it had {mark.entries}."
    if epoch < mark.epoch:
        return f"The database knows epoch {epoch} of the team's key; it knew {mark.epoch}."
    return ""
