"""Events as JSON lines, in and out: one event per line, any author's, checked like any other.

Used to carry events by hand and to take over another relay's. A bad line is counted and named, and
does not keep the others from being taken. Both ways go on where they were broken off: an export from
the parts it has written beside its file, an import from what the node remembers of the file.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from meshconsole.core.errors import Fatal
from meshconsole.core.kinds import MEMBERSHIP_KINDS
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from meshconsole.control.server import Report
    from meshconsole.node.state import NodeState
    from meshconsole.relay.filter import Filter
    from meshconsole.relay.relay import Relay

BATCH = 200
MAX_LINE_BYTES = 1 << 20
PAGE = 500
REFUSED = "refused"
MAX_REASONS = 20
REMEMBER_EVERY = 20
"""Batches or pages between two notes of how far it has come."""


class Progress:
    """How far a file was imported; the file is known by path, size and time of change."""

    def __init__(self, state: NodeState, path: Path) -> None:
        self._state = state
        self._name = f"import {path}"
        self._path = path

    def load(self) -> int:
        size, changed, offset = self._state.get(self._name, tuple[int, int, int], (0, 0, 0))
        return offset if (size, changed) == self._file() else 0

    def save(self, offset: int) -> None:
        self._state.put(self._name, (*self._file(), offset))

    def done(self) -> None:
        self._state.put(self._name, (0, 0, 0))

    def _file(self) -> tuple[int, int]:
        found = os.stat(self._path)
        return found.st_size, found.st_mtime_ns


class _Part(msgspec.Struct, frozen=True):
    """What stands beside an unfinished export: which events it is of, and where it goes on."""

    log_id: str
    filter: str
    after: int
    size: int
    count: int


async def import_events(
    relay: Relay, path: Path, report: Report, progress: Progress | None = None, refused: Path | None = None
) -> tuple[dict[str, int], int]:
    """Counts by what became of each line, and the byte that it went on from. Lines that are refused are
    also written to `refused`, a new file. Raises Fatal when a file cannot be read or written."""
    counts: Counter[str] = Counter()
    try:
        with ExitStack() as stack:
            side = stack.enter_context(refused.open("xb")) if refused is not None else None
            total = await asyncio.to_thread(os.path.getsize, path)
            begun = done = progress.load() if progress is not None else 0
            for number, (batch, size) in enumerate(_batches(stack.enter_context(path.open("rb")), begun)):
                counts.update(await _take(relay, batch, side))
                done += size
                report(min(done, total), total, "importing")
                if progress is not None and number % REMEMBER_EVERY == 0:
                    await asyncio.to_thread(progress.save, done)
    except OSError as error:
        name = safe(str(error.filename or path))
        raise Fatal(f"Cannot use {name}: {error.strerror}.") from error
    if progress is not None:
        await asyncio.to_thread(progress.done)
    return _in_order(counts), begun


async def import_lines(relay: Relay, lines: Iterable[bytes]) -> dict[str, int]:
    return _in_order(await _take(relay, [line for line in lines if line.strip()], None))


async def export_events(
    relay: Relay, path: Path, report: Report, wanted: Filter, filter_text: str
) -> dict[str, int]:
    """Writes every stored event that matches, oldest first; the file appears whole or not at all. What
    was written when it was broken off stays beside it, and the same export goes on from there. What this
    relay tells of its members (NIP-43) is left out: nobody else takes it."""
    carried = msgspec.structs.replace(wanted, hidden=wanted.hidden | MEMBERSHIP_KINDS)
    part, note = path.with_name(path.name + ".part"), path.with_name(path.name + ".part.at")
    begun = await asyncio.to_thread(_read_note, part, note, relay.store.log_id, filter_text)
    after, count = (begun.after, begun.count) if begun is not None else (None, 0)
    try:
        with part.open("r+b" if begun is not None else "wb") as file:
            file.truncate(begun.size if begun is not None else 0)
            file.seek(0, os.SEEK_END)
            pages = 0
            while True:
                page = await asyncio.to_thread(relay.store.scan, [carried], after, PAGE)
                await asyncio.to_thread(file.write, b"".join(raw + b"\n" for raw in page.raws))
                count += len(page.raws)
                report(count, None, "exporting")
                if page.after is None:
                    break
                after = page.after
                if pages % REMEMBER_EVERY == 0:
                    made = _Part(relay.store.log_id, filter_text, after, file.tell(), count)
                    await asyncio.to_thread(_write_note, file, note, made)
                pages += 1
            await asyncio.to_thread(_flush, file)
        os.replace(part, path)
        note.unlink(missing_ok=True)
    except OSError as error:
        raise Fatal(f"Cannot write {safe(str(path))}: {error.strerror}.") from error
    return {"exported": count}


def _read_note(part: Path, note: Path, log_id: str, filter_text: str) -> _Part | None:
    """Where an export goes on, if what is there is the same export and whole up to there."""
    try:
        found = msgspec.json.decode(note.read_bytes(), type=_Part)
        size = part.stat().st_size
    except (OSError, msgspec.MsgspecError):
        return None
    same = (found.log_id, found.filter) == (log_id, filter_text)
    return found if same and size >= found.size else None


def _write_note(file: BinaryIO, note: Path, made: _Part) -> None:
    _flush(file)
    temporary = note.with_name(note.name + "~")
    temporary.write_bytes(msgspec.json.encode(made))
    os.replace(temporary, note)


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


async def _take(relay: Relay, lines: list[bytes], side: BinaryIO | None) -> Counter[str]:
    counts: Counter[str] = Counter()
    verdicts = await relay.publish_many([line.strip() for line in lines], via="import", own=True)
    for line, verdict in zip(lines, verdicts, strict=True):
        if not verdict.accepted:
            counts[f"{REFUSED}: {verdict.message}"] += 1
            if side is not None:
                side.write(line.strip() + b"\n")
        elif verdict.code == "duplicate":
            counts["already here"] += 1
        else:
            counts["new"] += 1
    return counts


def _batches(file: BinaryIO, begin: int) -> Iterator[tuple[list[bytes], int]]:
    """Lines in batches, with the bytes they take; one that is too long is cut, and then refused like any
    malformed one."""
    file.seek(begin)
    batch: list[bytes] = []
    size = 0
    while line := file.readline(MAX_LINE_BYTES):
        size += len(line)
        if line.strip():
            batch.append(line)
        if len(batch) >= BATCH:
            yield batch, size
            batch, size = [], 0
    if batch:
        yield batch, size


def _in_order(counts: Counter[str]) -> dict[str, int]:
    """What was taken, then what was refused by reason, the commonest first; rare reasons as one."""
    main = {name: counts.pop(name, 0) for name in ("new", "already here")}
    reasons = dict(counts.most_common(MAX_REASONS))
    others = counts.total() - sum(reasons.values())
    return main | reasons | ({f"{REFUSED} for other reasons": others} if others else {})
