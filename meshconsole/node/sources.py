"""Files of this node's disk on their way into the team's store: read in pieces, sealed as they are drawn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from meshconsole.core.errors import Fatal
from meshconsole.core.text import safe
from meshconsole.crypto.sealing import seal_stream
from meshconsole.team.folders import LISTING_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from meshconsole.control.server import Report
    from meshconsole.node.folders import Scan
    from meshconsole.team.folders import FolderFile
    from meshconsole.team.state import Team

READ_BYTES = 1 << 20


def regular_size(path: Path) -> int:
    try:
        if not path.is_file():
            raise Fatal(f"{safe(str(path))} is not a file.", hint="Give the path of a file or a folder.")
        return path.stat().st_size
    except OSError as error:
        raise Fatal(f"Cannot read {safe(str(path))}: {error.strerror}.") from error


def pieces(path: Path, told: Callable[[int], None]) -> Iterator[bytes]:
    """The file in pieces; called on the content store's thread."""
    try:
        with path.open("rb") as file:
            while piece := file.read(READ_BYTES):
                yield piece
                told(len(piece))
    except OSError as error:
        raise Fatal(f"Cannot read {safe(str(path))}: {error.strerror}.") from error


def counting(report: Report, total: int, words: str = "sealing") -> Callable[[int], None]:
    """Takes how many more bytes were read. Pieces are drawn in a thread; a socket belongs to the loop."""
    loop = asyncio.get_running_loop()
    done = 0

    def told(count: int) -> None:
        nonlocal done
        done += count
        loop.call_soon_threadsafe(report, done, total, words)

    return told


def sealed_sources(
    team: Team,
    key: bytes,
    listing: bytes,
    files: list[FolderFile],
    found: Scan,
    told: Callable[[int], None],
) -> Iterator[tuple[str, Iterator[bytes]]]:
    """The entries of a folder's directory, one after the other."""
    context = team.object_context()
    yield LISTING_NAME, seal_stream(key, context, [listing], len(listing))
    for number, (file, place) in enumerate(zip(files, found.files, strict=True), 1):
        yield str(number), seal_stream(file.key, context, pieces(place.place, told), file.size)


def media_type(name: str) -> str:
    import mimetypes  # only here: it reads the system's tables

    return mimetypes.guess_type(name)[0] or "application/octet-stream"
