"""The parts of a courier's bundle on a disk: written one after the other, found, and read box by box.

A part appears under its name only when it is whole and synced.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections import deque
from typing import TYPE_CHECKING, BinaryIO

from meshconsole.core.errors import Fatal, RemoteError
from meshconsole.core.text import safe
from meshconsole.team.courier import Frame, Label, PartReader, PartWriter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from meshconsole.crypto.identity import Identity
    from meshconsole.team.state import Team

SUFFIX = ".mcb"
_ENDING_BYTES = 256
"""More than the last box of a part adds to what is in it."""


def _cost(data: bytes) -> int:
    """At least what a frame takes in a part: its head, and what sealing adds to each 16 KiB and each box."""
    return len(data) + len(data) // 1000 + 64


class Parts:
    """Writes frames into one part after the other."""

    def __init__(
        self, me: Identity, team: Team, folder: Path, split_bytes: int, *, first: int = 0, name: str = ""
    ) -> None:
        self._me = me
        self._team = team
        self._folder = folder
        self._split_bytes = split_bytes
        self._bundle = secrets.token_hex(16)
        self._first = first
        self._name = name
        self._file: BinaryIO | None = None
        self._writer: PartWriter | None = None
        self._size = 0
        self.parts = 0
        self.written = 0

    async def put(self, kind: int, data: bytes, *, again: tuple[Frame, ...] = ()) -> bool:
        """`again` goes before it where it is the first of a part. True now and then, for reports."""
        if self._file is not None and self._split_bytes and self._size + _cost(data) > self._split_bytes:
            await self.close()
        if self._file is None:
            await asyncio.to_thread(self._open)
            for frame in again:
                await self.put(*frame)
        assert self._writer is not None
        self._size += _cost(data)
        box = self._writer.add(kind, data)
        if box:
            await asyncio.to_thread(self._write, box)
        return bool(box)

    async def close(self) -> None:
        if self._file is None and (self.parts or not self._name):
            return
        if self._file is None:
            await asyncio.to_thread(self._open)  # a have-list may be empty, and is one all the same
        await asyncio.to_thread(self._finish)

    async def abandon(self) -> None:
        """Removes what was not finished."""
        if self._file is not None:
            self._file.close()
            self._file = None
            await asyncio.to_thread(self._unfinished.unlink, missing_ok=True)

    def _open(self) -> None:
        number = self._first + self.parts
        self._writer = PartWriter(
            self._me, self._team.team_id, self._team.readers(), Label(self._bundle, number)
        )
        self._place = self._folder / (self._name or f"{number:04d}-{self._bundle[:8]}{SUFFIX}")
        self._unfinished = self._place.with_name(f".{self._place.name}.unfinished")
        try:
            if self._place.exists():
                raise Fatal(f"{safe(str(self._place))} exists already.", hint="Choose another name.")
            self._file = self._unfinished.open("wb")
        except OSError as error:
            raise _cannot_write(self._place, error) from error
        begin = self._writer.begin()
        self._write(begin)
        self._size = len(begin) + _ENDING_BYTES

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        try:
            self._file.write(data)
        except OSError as error:
            raise _cannot_write(self._place, error) from error
        self.written += len(data)

    def _finish(self) -> None:
        assert self._file is not None
        assert self._writer is not None
        self._write(self._writer.finish())
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._unfinished, self._place)
        except OSError as error:
            raise _cannot_write(self._place, error) from error
        self._file = None
        self.parts += 1


def parts_in(folder: Path) -> list[Path]:
    """The whole parts in a folder, in order. Blocking. Raises Fatal."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == SUFFIX and path.name[0] != ".")
    except OSError as error:
        raise Fatal(f"Cannot read {safe(str(folder))}: {error.strerror}.") from error


def parts_at(path: Path) -> list[Path]:
    return parts_in(path) if path.is_dir() else [path]


class Ahead:
    """Frames one by one, the next of them visible; read box by box in a thread."""

    def __init__(self, boxes: Iterator[list[Frame]]) -> None:
        self._boxes = boxes
        self._frames: deque[Frame] = deque()
        self._ended = False

    async def peek(self) -> Frame | None:
        while not self._frames and not self._ended:
            box = await asyncio.to_thread(next, self._boxes, None)
            self._ended = box is None
            self._frames.extend(box or ())
        return self._frames[0] if self._frames else None

    async def next(self) -> Frame:
        return self._frames.popleft()


def boxes_of(path: Path, reader: PartReader) -> Iterator[list[Frame]]:
    """The frames of each box. Blocking. Raises RemoteError for a file that was cut or changed, Fatal."""
    try:
        with path.open("rb") as file:
            reader.open(_exactly(file, reader.header_size(file.read(8))))
            while not reader.ended:
                yield list(reader.box(_exactly(file, reader.box_size(file.read(4)))))
            if file.read(1):
                raise RemoteError("bad-bundle", "Something follows the end of the bundle.")
    except OSError as error:
        raise Fatal(f"Cannot read {safe(str(path))}: {error.strerror}.") from error


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise RemoteError("bad-bundle", "The file of the bundle is cut off.")
    return data


def _cannot_write(path: Path, error: OSError) -> Fatal:
    return Fatal(
        f"Cannot write {safe(str(path))}: {error.strerror}.",
        hint="What is packed already stays; go on with the same command when there is room.",
    )
