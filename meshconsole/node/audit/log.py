"""The audit log: what was done to this node, append-only and hash-chained.

Each line is Base64 of a sealed record (the log names people, so it is encrypted at rest like
everything else); a record holds the SHA-256 of the record before it, so that an export can be
checked without the key. Cutting, changing or swapping lines breaks the chain at a known place. A
last line without a newline is a write that a power cut interrupted: it is put aside, never taken
for tampering.

A log that has grown too long is shortened from its beginning. The first line is a cut then, signed
by the device with both signatures: which record stood last before those that are left.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from meshconsole.core.errors import CorruptData, Fatal, Refused, RemoteError
from meshconsole.core.event import Event
from meshconsole.crypto.encoding import b64, unb64
from meshconsole.crypto.private_file import as_our_error, sync_folder
from meshconsole.crypto.sealing import seal, unseal
from meshconsole.node.audit.cut import read_cut

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTEXT = b"mc/audit/v1"
CUT_CONTEXT = b"mc/audit-start/v1"
GENESIS = "00" * 32
MAX_LINE = 1 << 20


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


class Places:
    """Which record stands where in a log, without the records themselves."""

    def __init__(self, before: int = 0, head: str = GENESIS) -> None:
        """`before` is the number of the last record that was cut off, `head` its digest."""
        self.before = before
        self.cut: Event | None = None
        self._digests = bytearray.fromhex(head)

    def add(self, record: AuditRecord) -> None:
        self._digests += bytes.fromhex(record.digest)

    @property
    def last(self) -> int:
        """The number of the newest record, 0 for none."""
        return self.before + len(self._digests) // 32 - 1

    @property
    def head(self) -> str:
        """The digest of the newest record."""
        return self._digests[-32:].hex()

    def holds(self, seq: int, digest: str) -> bool:
        """Whether that record stands there. True for those before the cut, of which nothing is known
        any more."""
        at = 32 * (seq - self.before)
        if at < 0 or seq == 0:
            return True
        return seq <= self.last and self._digests[at : at + 32].hex() == digest


class AuditLog:
    def __init__(self, path: Path, key: bytes) -> None:
        self._path = path
        self._key = key
        self.seq = 0
        self.head = GENESIS
        """Of the newest record."""
        self.size_bytes = 0
        self._descriptor: int | None = None

    def open(self) -> Places:
        """Verifies the whole chain and goes on from its end. Raises CorruptData naming the line."""
        chain = Chain(self._path, self._key)
        for _ in chain:
            pass
        self.seq, self.head, self.size_bytes = chain.places.last, chain.places.head, chain.whole_bytes
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.ftruncate(self._descriptor, self.size_bytes)
            os.lseek(self._descriptor, 0, os.SEEK_END)
        except OSError as error:
            raise Fatal(f"Cannot write {self._path}: {error.strerror}.") from error
        return chain.places

    def append(self, act: str, now: float, **detail: str) -> AuditRecord:
        """Durable on return. Raises Fatal when the disk refuses."""
        if self._descriptor is None:
            raise Fatal("The audit log is not open.")
        record = AuditRecord(self.seq + 1, now, act, detail, self.head)
        line = b64(seal(self._key, CONTEXT, msgspec.json.encode(record))).encode() + b"\n"
        self._write(self._descriptor, line)
        self.seq, self.head = record.seq, record.digest
        self.size_bytes += len(line)
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

    def copy_behind(self, cut: Event, from_byte: int) -> _Copy:
        """The log without what lies before `from_byte`, as `place_to_cut` gave it and `cut` vouches for
        it, in a file of its own. May run beside `append`. Raises Fatal or Unavailable."""
        path = self._path.with_name(f"{self._path.name}.new")
        line = b64(seal(self._key, CUT_CONTEXT, msgspec.json.encode(cut))).encode() + b"\n"
        upto = self.size_bytes
        try:
            with suppress(FileNotFoundError):
                path.unlink()
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                _write_all(descriptor, line)
                self._copy(descriptor, from_byte, upto)
                os.fsync(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            raise as_our_error(error, self._path.name) from error
        return _Copy(path, descriptor, upto)

    def put_in_place(self, copy: _Copy) -> None:
        """Goes on with the copy. After a power cut the file is the old one or the new. Raises Fatal or
        Unavailable; then it goes on with what it had."""
        try:
            self._copy(copy.descriptor, copy.upto, self.size_bytes)
            os.fsync(copy.descriptor)
            copy.path.replace(self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            os.close(copy.descriptor)
            raise as_our_error(error, self._path.name) from error
        self.close()
        self._descriptor = copy.descriptor
        self.size_bytes = os.lseek(copy.descriptor, 0, os.SEEK_END)

    def _copy(self, descriptor: int, start: int, end: int) -> None:
        with self._path.open("rb") as old:
            old.seek(start)
            while start < end:
                piece = old.read(min(1 << 20, end - start))
                if not piece:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                _write_all(descriptor, piece)
                start += len(piece)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class _Copy(NamedTuple):
    """Of what the log held up to byte `upto`."""

    path: Path
    descriptor: int
    upto: int


def _write_all(descriptor: int, data: bytes) -> None:
    if os.write(descriptor, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_audit(path: Path, key: bytes) -> list[AuditRecord]:
    """Every record, verified. Raises CorruptData naming the first bad line."""
    return list(Chain(path, key))


def read_places(path: Path, key: bytes) -> Places:
    """Raises CorruptData naming the first bad line."""
    chain = Chain(path, key)
    for _ in chain:
        pass
    return chain.places


def place_to_cut(path: Path, key: bytes, keep_bytes: int) -> tuple[AuditRecord, int] | None:
    """The last record to let go, and where in the file the next one begins, so that at most
    `keep_bytes` stay, and one record at least. None if there are not two."""
    chain = Chain(path, key)
    surplus = (path.stat().st_size if path.exists() else 0) - keep_bytes
    found = None
    for record in chain:
        if found is not None and found[1] >= surplus:
            break
        found = (record, chain.whole_bytes)
    else:
        return None
    return found


class Chain:
    """One pass over a log's file, record by record. `places` and `whole_bytes` are of what was read."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._path = path
        self._key = key
        self.places = Places()
        self.whole_bytes = 0

    def __iter__(self) -> Iterator[AuditRecord]:
        """Raises CorruptData naming the first bad line."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            number = 0
            while raw := file.readline(MAX_LINE):
                number += 1
                if not raw.endswith(b"\n"):
                    return
                record = self._read(raw[:-1], number)
                self.whole_bytes += len(raw)
                if record is not None:
                    yield record

    def _read(self, line: bytes, number: int) -> AuditRecord | None:
        """None for a cut."""
        try:
            sealed = unb64(line.decode("ascii", "replace"))
            if number == 1 and (cut := self._opened_cut(sealed)) is not None:
                self.places = cut
                return None
            record = msgspec.json.decode(unseal(self._key, CONTEXT, sealed), type=AuditRecord)
        except (RemoteError, Refused, msgspec.DecodeError) as error:
            raise self._broken(number, "cannot be opened") from error
        if record.seq != self.places.last + 1 or record.previous != self.places.head:
            raise self._broken(number, "does not follow the line before it")
        self.places.add(record)
        return record

    def _opened_cut(self, sealed: bytes) -> Places | None:
        try:
            opened = unseal(self._key, CUT_CONTEXT, sealed)
        except RemoteError:
            return None
        event = msgspec.json.decode(opened, type=Event)
        cut = read_cut(event)
        places = Places(cut.seq, cut.head)
        places.cut = event
        return places

    def _broken(self, number: int, why: str) -> CorruptData:
        return CorruptData(
            f"The audit log {self._path} was changed: line {number} {why}.",
            hint="Keep the file as evidence: move it away, and the node starts a new one.",
        )
