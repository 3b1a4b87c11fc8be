"""Writing files for their reader: whole or not at all, and never over another one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from typing import TYPE_CHECKING, BinaryIO

from meshconsole.core.errors import Refused
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


async def write_whole(destination: Path, pieces: AsyncIterator[bytes]) -> None:
    """All of it or nothing, and never over another file: a temporary one beside it, linked at the end."""
    descriptor, temporary = tempfile.mkstemp(dir=destination.parent, prefix=".meshconsole-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            async for piece in pieces:
                await asyncio.to_thread(file.write, piece)
            await asyncio.to_thread(_sync, file)
        await asyncio.to_thread(_place, temporary, destination)
    except FileExistsError:
        raise exists_already(destination) from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _place(temporary: str, destination: Path) -> None:
    """Raises FileExistsError rather than take another file's place."""
    try:
        os.link(temporary, destination)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links, such as a USB stick's
        if destination.exists():
            raise FileExistsError(destination) from None
        os.replace(temporary, destination)


def exists_already(destination: Path) -> Refused:
    return Refused(
        "restricted", f"{safe(str(destination))} exists already.", hint="Choose another name with -o."
    )


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
