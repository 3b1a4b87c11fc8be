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
from meshconsole.core.lines import TOO_LONG, Lines
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from meshconsole.control.server import Report
    from meshconsole.node.state import NodeState
    from meshconsole.relay.filter import Filter
    from meshconsole.relay.relay import Relay

BATCH = 200
PIECE_BYTES = 128 << 10
"""So much of a file is read at once."""
PAGE = 500
REFUSED = "refused"
MAX_REASONS = 20
REMEMBER_EVERY = 40
"""Pieces or pages between two notes of how far it has come."""


class _Done(msgspec.Struct, frozen=True, array_like=True):
    """How far the file of this size and time of change was imported, and what its refused lines are in."""

    size: int = 0
    changed: int = 0
    offset: int = 0
    refused: str = ""
    refused_bytes: int = 0


class Progress:
    """How far a file was imported; the file is known by path, size and time of change."""

    def __init__(self, state: NodeState, path: Path) -> None:
        self._state = state
        self._name = f"import {path}"
        self._path = path

    def load(self) -> _Done:
        done = self._state.get(self._name, _Done, _Done())
        return done if (done.size, done.changed) == self._file() else _Done()

    def save(self, offset: int, side: _Side) -> None:
        self._state.put(self._name, _Done(*self._file(), offset, side.name, side.keep()))

    def forget(self) -> None:
        self._state.put(self._name, _Done())

    def _file(self) -> tuple[int, int]:
        found = os.stat(self._path)
        return found.st_size, found.st_mtime_ns


class _Side:
    """Where refused lines are written, if anywhere."""

    def __init__(self, path: Path | None, done: _Done) -> None:
        """A new file, or the one that was begun, without what was written to it after the last note.
        Raises OSError."""
        self.name = "" if path is None else str(path)
        self._file: BinaryIO | None = None
        if path is None:
            return
        if done.refused == self.name and path.exists() and path.stat().st_size >= done.refused_bytes:
            self._file = path.open("r+b")
            self._file.seek(done.refused_bytes)
            self._file.truncate()
        else:
            self._file = path.open("xb")

    def write(self, line: bytes) -> None:
        if self._file is not None:
            self._file.write(line + b"\n")

    def keep(self) -> int:
        """All that was written is durable from now on. How much that is."""
        if self._file is None:
            return 0
        _flush(self._file)
        return self._file.tell()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


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
    also written to `refused`, a new file, or the one of the same import that was broken off; those that are
    too long are not. Raises Fatal when a file cannot be read or written."""
    counts: Counter[str] = Counter()
    lines = Lines()
    try:
        with ExitStack() as stack:
            done = await asyncio.to_thread(progress.load) if progress is not None else _Done()
            side = await asyncio.to_thread(_Side, refused, done)
            stack.callback(side.close)
            file = stack.enter_context(await asyncio.to_thread(path.open, "rb"))
            total = await asyncio.to_thread(file.seek, 0, os.SEEK_END)
            await asyncio.to_thread(file.seek, done.offset)
            read, number = done.offset, 0
            while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
                read += len(piece)
                counts.update(await _take(relay, lines.feed(piece), side))
                report(min(read, total), total, "importing")
                if progress is not None and number % REMEMBER_EVERY == 0:
                    await asyncio.to_thread(progress.save, read - lines.pending, side)
                number += 1
            counts.update(await _take(relay, lines.close(), side))
            await asyncio.to_thread(side.keep)
    except FileExistsError as error:
        raise Fatal(
            f"{safe(str(error.filename))} exists already.", hint="Choose another name, or remove it first."
        ) from error
    except OSError as error:
        name = safe(str(error.filename or path))
        raise Fatal(f"Cannot use {name}: {error.strerror}.") from error
    if progress is not None:
        await asyncio.to_thread(progress.forget)
    return _in_order(counts + Counter({TOO_LONG: lines.too_long})), done.offset


async def import_lines(relay: Relay, lines: Iterable[bytes]) -> dict[str, int]:
    return _in_order(await _take(relay, [line.strip() for line in lines if line.strip()], None))


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


async def _take(relay: Relay, lines: list[bytes], side: _Side | None) -> Counter[str]:
    """`lines` have no blanks around them."""
    counts: Counter[str] = Counter()
    for start in range(0, len(lines), BATCH):
        batch = lines[start : start + BATCH]
        verdicts = await relay.publish_many(batch, via="import", own=True)
        for line, verdict in zip(batch, verdicts, strict=True):
            if not verdict.accepted:
                counts[f"{REFUSED}: {verdict.message}"] += 1
                if side is not None:
                    side.write(line)
            elif verdict.code == "duplicate":
                counts["already here"] += 1
            else:
                counts["new"] += 1
    return counts


def _in_order(counts: Counter[str]) -> dict[str, int]:
    """What was taken, then what was refused by reason, the commonest first; rare reasons as one."""
    main = {name: counts.pop(name, 0) for name in ("new", "already here")}
    reasons = dict(counts.most_common(MAX_REASONS))
    others = counts.total() - sum(reasons.values())
    return main | reasons | ({f"{REFUSED} for other reasons": others} if others else {})
