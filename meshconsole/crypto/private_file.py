"""Small files that only their owner may read, written whole or not at all."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from meshconsole.core.errors import CorruptData, Fatal, MeshconsoleError, Unavailable

if TYPE_CHECKING:
    from pathlib import Path


def write_private(path: Path, data: bytes) -> None:
    """Replaces `path` atomically: after a power cut it holds the old bytes or the new. Mode 0600."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with suppress(FileNotFoundError):
            temporary.unlink()
        _write_new(temporary, data)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise as_our_error(error, path.name) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def overwrite(path: Path, data: bytes) -> None:
    """Writes over the file's own bytes, so that the old ones do not stay on a disk that writes in place."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with open(handle, "wb", closefd=True) as file:
            file.write(data)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise as_our_error(error, path.name) from error


def read_bounded(path: Path, limit: int) -> bytes:
    """The whole file. Raises Fatal when it cannot be read, CorruptData when it exceeds `limit` bytes."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise as_our_error(error, path.name) from error
    if len(data) > limit:
        raise CorruptData(f"{path.name} is larger than it can be.")
    return data


def as_our_error(error: OSError, name: str) -> MeshconsoleError:
    """The error of ours for one that the file system raised."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable(f"There is no space left to write {name}.", hint="Free some space on the disk.")
    if isinstance(error, FileNotFoundError):
        return Fatal(f"{name} does not exist.", hint="Check the home folder (--home).")
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return Fatal(
            f"{name} may not be opened.",
            hint="Check the owner and permissions of the home folder, and that its disk is not read-only.",
        )
    return Fatal(f"{name} cannot be opened: {error.strerror}.")


def _write_new(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(handle, "wb", closefd=True) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Makes a rename durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
