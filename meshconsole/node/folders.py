"""Folders on this node's disk: what is in one that is to be shared, and writing one that was fetched."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import Fatal, Refused, RemoteError
from meshconsole.core.filenames import check_path
from meshconsole.core.text import safe
from meshconsole.node.writing import exists_already, write_whole
from meshconsole.team.folders import MAX_FILES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator


class Found(msgspec.Struct, frozen=True):
    """A regular file of the folder; `path` is relative, with slashes."""

    path: str
    place: Path
    size: int


class Scan(msgspec.Struct, frozen=True):
    """`left_out` counts what is neither a file nor a folder, such as symbolic links. Empty folders are
    not counted: nothing of them is shared."""

    files: tuple[Found, ...]
    left_out: int

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


def scan(folder: Path) -> Scan:
    """Blocking. Raises Refused for names that cannot be shared and for too many files, Fatal for the disk."""
    files: list[Found] = []
    left_out = 0
    try:
        for place in _everything_below(folder):
            status = place.lstat()
            if not stat.S_ISREG(status.st_mode):
                left_out += 1
                continue
            path = place.relative_to(folder).as_posix()
            check_path(path)
            files.append(Found(path, place, status.st_size))
            if len(files) > MAX_FILES:
                raise Refused("restricted", f"The folder holds more than {MAX_FILES} files.")
    except OSError as error:
        raise Fatal(f"Cannot read {safe(str(folder))}: {error.strerror}.") from error
    except RemoteError as error:
        raise Refused("invalid", f"The folder cannot be shared: {error.sentence}") from None
    if not files:
        raise Refused("invalid", f"There is no file in {safe(str(folder))}.")
    return Scan(tuple(files), left_out)


async def write_folder(destination: Path, files: Iterable[tuple[str, AsyncIterator[bytes]]]) -> None:
    """All files or none: into a folder beside it that takes its name at the end. Paths were checked.

    Raises Refused if something stands there already, OSError, and what `files` raise.
    """
    temporary = destination.parent / f".meshconsole-{secrets.token_hex(8)}"
    await asyncio.to_thread(temporary.mkdir)
    try:
        for path, pieces in files:
            place = temporary.joinpath(*path.split("/"))
            await asyncio.to_thread(place.parent.mkdir, parents=True, exist_ok=True)
            await write_whole(place, pieces)
        await asyncio.to_thread(_name, temporary, destination)
    finally:
        await asyncio.to_thread(shutil.rmtree, temporary, ignore_errors=True)


def _everything_below(folder: Path) -> Iterator[Path]:
    """Everything that is not a folder, in the order of names. Symbolic links are not followed."""

    def fail(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(folder, onerror=fail):
        linked = [name for name in folders if Path(place, name).is_symlink()]
        folders.sort()
        for name in sorted(names + linked):
            yield Path(place, name)


def _name(temporary: Path, destination: Path) -> None:
    if destination.exists():
        raise exists_already(destination)
    os.rename(temporary, destination)
