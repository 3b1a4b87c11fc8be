"""The audit log as consoles see it: its newest lines, checked, and written out for others to check."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from meshconsole.control import messages as m
from meshconsole.control.audit import (
    AcknowledgeSetBack,
    AuditCommand,
    AuditTail,
    ExportAudit,
    RecordAct,
    VerifyAudit,
)
from meshconsole.core.errors import CorruptData, Refused
from meshconsole.core.text import safe
from meshconsole.node.audit.cut import verify_cut
from meshconsole.node.audit.export import Export, write_export
from meshconsole.node.watermark import log_was_set_back, stands_in

if TYPE_CHECKING:
    from meshconsole.node.audit.log import Places
    from meshconsole.node.ground import Ground
    from meshconsole.node.vouching import Vouching


async def answer_about_audit(node: Ground, vouching: Vouching, command: AuditCommand) -> m.Reply:
    """Raises MeshconsoleError."""
    match command:
        case AuditTail(limit=limit):
            return m.done(data=m.LinesData(await _tail(node, limit)))
        case RecordAct(act=act, what=what):
            node.record(act, what=what)
            return m.done()
        case VerifyAudit():
            return await _verify(node, vouching)
        case ExportAudit(path=path):
            return await _export(node, vouching, Path(path))
        case AcknowledgeSetBack():
            why = vouching.set_back
            if not why:
                raise Refused("invalid", "This home was not set back.")
            node.record("set-back-acknowledged", was=why)
            await vouching.acknowledge()
            return m.done("Acknowledged. This home goes on from its present state.")


async def _tail(node: Ground, limit: int) -> tuple[str, ...]:
    records, _ = await node.read_audit(limit)
    lines = []
    for record in records:
        when = datetime.fromtimestamp(record.at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        detail = " ".join(f"{name}={safe(value, 80)}" for name, value in record.detail.items())
        lines.append(f"{record.seq} {when} {record.act} {detail}".rstrip())
    return tuple(lines)


async def _verify(node: Ground, vouching: Vouching) -> m.Reply:
    try:
        places = await node.audit_places()
        before = await asyncio.to_thread(_verified_cut, node, places)
    except CorruptData as error:
        return m.refused("invalid", error.sentence, error.hint)
    wrong = log_was_set_back(vouching.mark, places) or vouching.set_back
    if wrong:
        return m.refused("invalid", wrong, "Keep the home as evidence.")
    lines = [f"{places.last - places.before} records, each follows the one before."]
    if before:
        lines.insert(0, f"Records up to {before} were let go; the device has signed how they ended.")
    mine = vouching.newest_own
    if mine is None:
        lines.append("No checkpoint of this device is signed yet.")
    else:
        covered, _ = mine
        if not stands_in(covered, places):
            return m.refused(
                "invalid",
                f"Record {covered.audit_seq} is not the one that this device has signed.",
                "Keep the home as evidence.",
            )
        lines.append(f"Checkpoint {covered.n}, signed twice, covers them up to record {covered.audit_seq}.")
    return m.done(data=m.LinesData(tuple(lines)))


def _verified_cut(node: Ground, places: Places) -> int:
    """The number of the last record that was let go, 0 if none was. Raises CorruptData."""
    if places.cut is None:
        return 0
    try:
        return verify_cut(places.cut, node.identity.bundle, node.provider).seq
    except Refused as error:
        raise CorruptData(
            f"The audit log {node.home.audit_log} was changed: line 1 is not signed by this device "
            f"({error.sentence})",
            hint="Keep the file as evidence: move it away, and the node starts a new one.",
        ) from None


async def _export(node: Ground, vouching: Vouching, path: Path) -> m.Reply:
    records, cut = await node.read_audit()
    mine = vouching.newest_own
    export = Export(
        device=node.identity.npub,
        name=node.config.node.name,
        records=tuple(records),
        cut=cut,
        keys=await asyncio.to_thread(node.identity.bundle_event, int(time.time())),
        checkpoint=mine[1] if mine else None,
    )
    await asyncio.to_thread(write_export, path, export)
    node.record("audit-exported", path=str(path))
    return m.done(f"Written to {safe(str(path))}.", m.CountsData({"records": len(records)}))
