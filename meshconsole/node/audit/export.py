"""An audit log written out as JSON lines, which anybody can check and lay beside those of other devices.

The first line names the device and holds its key bundle (signed by itself). If the log was shortened,
the signed cut follows. Then comes a line for each record, and at the end the device's newest checkpoint.
The chain of digests shows that no record was changed, cut out or moved; the checkpoint's two signatures
cover all up to the record that it names.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

import msgspec

from meshconsole.core.errors import CorruptData, Fatal, Refused
from meshconsole.core.event import Event  # noqa: TC001 - msgspec reads the annotations
from meshconsole.crypto.bundle import open_bundle
from meshconsole.crypto.private_file import as_our_error, read_bounded
from meshconsole.node.audit.cut import verify_cut
from meshconsole.node.audit.log import AuditRecord, Places
from meshconsole.team.checkpoints import verify_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

    from meshconsole.crypto.bundle import KeyBundle
    from meshconsole.crypto.provider import Provider

T = TypeVar("T")
MAX_BYTES = 256 << 20
UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)


class _Head(msgspec.Struct, frozen=True):
    device: str
    name: str
    keys: Event


class _Tail(msgspec.Struct, frozen=True):
    checkpoint: Event


class _Start(msgspec.Struct, frozen=True):
    cut: Event


class Export(msgspec.Struct, frozen=True):
    device: str
    name: str
    records: tuple[AuditRecord, ...]
    keys: Event
    checkpoint: Event | None = None
    cut: Event | None = None


def write_export(path: Path, export: Export) -> None:
    """Raises Fatal or Unavailable. A file that exists is left alone."""
    encode = msgspec.json.encode
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(encode(_Head(export.device, export.name, export.keys)) + b"\n")
            if export.cut is not None:
                file.write(encode(_Start(export.cut)) + b"\n")
            file.writelines(encode(record) + b"\n" for record in export.records)
            if export.checkpoint is not None:
                file.write(encode(_Tail(export.checkpoint)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise Fatal(f"{path} exists already.", hint="Name another file, or move that one away.") from None
    except OSError as error:
        raise as_our_error(error, str(path)) from error


def read_export(path: Path, provider: Provider) -> tuple[Export, int]:
    """The export and up to which record the device vouches with its signatures (0: none).

    Raises CorruptData naming the first line that is wrong, Fatal when the file cannot be read.
    """
    if not path.is_file():
        raise Fatal(f"{path} is not a file.")
    first, *rest = read_bounded(path, MAX_BYTES).splitlines() or [b""]
    try:
        head = msgspec.json.decode(first, type=_Head)
        bundle = open_bundle(head.keys, provider)
    except (*UNREADABLE, Refused) as error:
        raise _broken(path, 1, f"is not the head of an audit export ({error})") from None
    if bundle.npub != head.device:
        raise _broken(path, 1, "names one device and holds the keys of another")
    start = _parsed(rest[0], _Start) if rest else None
    tail = _parsed(rest[-1], _Tail) if rest else None
    places = _places(path, start, bundle, provider)
    records: list[AuditRecord] = []
    first_record = 2 if start is None else 3
    for number, line in enumerate(rest[first_record - 2 : -1 if tail else None], first_record):
        record = _record(path, number, line)
        if record.previous != places.head or record.seq != places.last + 1:
            raise _broken(path, number, "does not follow the line before it")
        records.append(record)
        places.add(record)
    cut = start.cut if start else None
    export = Export(head.device, head.name, tuple(records), head.keys, tail.checkpoint if tail else None, cut)
    if export.checkpoint is None:
        return export, places.before
    try:
        covered = verify_checkpoint(export.checkpoint, bundle, provider)
    except Refused as error:
        raise _broken(path, len(rest) + 1, f"holds a false checkpoint ({error.sentence})") from None
    at = covered.audit_seq
    if not places.holds(at, covered.audit_head):
        line_of = max(0, min(at, places.last) - places.before) + first_record - 1
        raise _broken(path, line_of, "is not what the device signed")
    return export, max(at, places.before)


def _places(path: Path, start: _Start | None, bundle: KeyBundle, provider: Provider) -> Places:
    if start is None:
        return Places()
    try:
        cut = verify_cut(start.cut, bundle, provider)
    except Refused as error:
        raise _broken(path, 2, f"holds a false beginning ({error.sentence})") from None
    return Places(cut.seq, cut.head)


def _record(path: Path, number: int, line: bytes) -> AuditRecord:
    try:
        record = msgspec.json.decode(line, type=AuditRecord)
    except UNREADABLE as error:
        raise _broken(path, number, f"is not an audit record ({error})") from None
    if msgspec.json.encode(record) != line:
        raise _broken(path, number, "is not written as a device writes it")
    return record


def _parsed(line: bytes, kind: type[T]) -> T | None:
    """None for a line that is something else."""
    try:
        return msgspec.json.decode(line, type=kind)
    except UNREADABLE:
        return None


def _broken(path: Path, number: int, why: str) -> CorruptData:
    return CorruptData(f"{path}: line {number} {why}.", hint="Keep the file as evidence.")
