"""The audit log: what was done to this node, append-only and hash-chained.

Each line is Base64 of a sealed record (the log names people, so it is encrypted at rest like
everything else); a record holds the SHA-256 of the record before it, so that an export can be
checked without the key. Cutting, changing or swapping lines breaks the chain at a known place. A
last line without a newline is a write that a power cut interrupted: it is put aside, never taken
for tampering.
"""

from __future__ import annotations

import errno
import os
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import CorruptData, Fatal, RemoteError
from meshconsole.crypto.encoding import b64, unb64
from meshconsole.crypto.sealing import seal, unseal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTEXT = b"mc/audit/v1"
GENESIS = "00" * 32


class AuditRecord(msgspec.Struct, frozen=True):
    """`at` is in seconds since the epoch, `previous` the `digest` of the record before (64 hex)."""

    seq: int
    at: float
    act: str
    detail: dict[str, str]
    previous: str

    @property
    def digest(self) -> str:
        """SHA-256 of the record's JSON, 64 hex characters: what the next record and checkpoints name."""
        return sha256(msgspec.json.encode(self)).hexdigest()


class AuditLog:
    def __init__(self, path: Path, key: bytes) -> None:
        self._path = path
        self._key = key
        self.seq = 0
        self.head = GENESIS
        """Of the newest record."""
        self._descriptor: int | None = None

    def open(self) -> None:
        """Verifies the whole chain and goes on from its end. Raises CorruptData naming the line."""
        whole_bytes = 0
        for record, line in _read_chain(self._path, self._key):
            self.seq, self.head = record.seq, record.digest
            whole_bytes += len(line) + 1
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.ftruncate(self._descriptor, whole_bytes)
            os.lseek(self._descriptor, 0, os.SEEK_END)
        except OSError as error:
            raise Fatal(f"Cannot write {self._path}: {error.strerror}.") from error

    def append(self, act: str, now: float, **detail: str) -> AuditRecord:
        """Durable on return. Raises Fatal when the disk refuses."""
        if self._descriptor is None:
            raise Fatal("The audit log is not open.")
        record = AuditRecord(self.seq + 1, now, act, detail, self.head)
        line = b64(seal(self._key, CONTEXT, msgspec.json.encode(record))).encode()
        self._write(self._descriptor, line + b"\n")
        self.seq, self.head = record.seq, record.digest
        return record

    def _write(self, descriptor: int, data: bytes) -> None:
        """All of it, durably, or nothing: half a line would look like tampering ever after."""
        end = os.lseek(descriptor, 0, os.SEEK_END)
        try:
            written = os.write(descriptor, data)
            if written != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        except OSError as error:
            os.ftruncate(descriptor, end)
            raise Fatal(f"Cannot write {self._path}: {error.strerror}.", hint="Make room.") from error

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def read_audit(path: Path, key: bytes) -> list[AuditRecord]:
    """Every record, verified. Raises CorruptData naming the first bad line."""
    return [record for record, _ in _read_chain(path, key)]


def _read_chain(path: Path, key: bytes) -> Iterator[tuple[AuditRecord, bytes]]:
    if not path.exists():
        return
    head, expected = GENESIS, 1
    for number, raw in enumerate(path.read_bytes().splitlines(keepends=True), 1):
        if not raw.endswith(b"\n"):
            return
        line = raw[:-1]
        try:
            opened = unseal(key, CONTEXT, unb64(line.decode("ascii", "replace")))
            record = msgspec.json.decode(opened, type=AuditRecord)
        except (RemoteError, msgspec.DecodeError) as error:
            raise _broken(path, number, "cannot be opened") from error
        if record.seq != expected or record.previous != head:
            raise _broken(path, number, "does not follow the line before it")
        head, expected = record.digest, expected + 1
        yield record, line


def _broken(path: Path, number: int, why: str) -> CorruptData:
    return CorruptData(
        f"The audit log {path} was changed: line {number} {why}.",
        hint="Keep the file as evidence: move it away, and the node starts a new one.",
    )
