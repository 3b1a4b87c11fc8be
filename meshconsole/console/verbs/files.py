"""Files of the team: add, read, fetch, pause, keep, carry away, remove."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from meshconsole.console.dropped import path_of
from meshconsole.console.screens.dialog import Read
from meshconsole.console.verbs.registry import attempt, verb
from meshconsole.console.widgets.entryline import Question
from meshconsole.console.words import size_in_words
from meshconsole.console.work import start
from meshconsole.control.files import (
    AddBlob,
    BlobsData,
    DropBlob,
    ExportCar,
    FetchBlob,
    GetBlob,
    PauseFetch,
    Pin,
    PreviewBlob,
    Unpin,
)
from meshconsole.control.messages import LinesData
from meshconsole.core.errors import MeshconsoleError
from meshconsole.core.text import REPLACEMENT, safe

if TYPE_CHECKING:
    from meshconsole.console.desk import Desk
    from meshconsole.control.messages import Progress
    from meshconsole.core.status import BlobView


@verb("file.add")
def add(desk: Desk, path: str) -> None:
    if not path:
        ask_to_add(desk)
    elif _shares_files(desk):
        start(desk, partial(_add, desk, path), "add")


def ask_to_add(desk: Desk, path: str = "") -> None:
    """With a path, such as one that was dropped on the terminal, Enter adds that."""
    if not _shares_files(desk):
        return
    desk.ask(
        Question(
            "file or folder to add",
            partial(_add, desk),
            value=path,
            placeholder="a path on this machine; it can be dropped or pasted here",
            path=True,
            enter="adds it",
        )
    )


async def _add(desk: Desk, text: str) -> bool:
    if not text.strip():
        return False
    path = absolute(text)
    if not await asyncio.to_thread(path.exists):
        path = absolute(path_of(text))
    if not await asyncio.to_thread(path.exists):
        desk.say(f"There is no {path}.", "bad")
        return False
    desk.say(f"Sealing and storing {path.name}.", "dim")
    reply = await attempt(desk, AddBlob(str(path)), f"Added {path.name}.")
    if reply is not None and isinstance(reply.data, BlobsData):
        desk.model.take_blobs(reply.data.blobs, desk.clock())
        desk.files.show(desk.model, desk.clock())
    return reply is not None


@verb("file.get")
def fetch(desk: Desk, destination: str) -> None:
    """Asks where to, then fetches the file under the cursor; the row shows how far it is."""
    if not _shares_files(desk):
        return
    blob = current(desk)
    if blob is None:
        return
    if destination:
        start(desk, partial(_fetch, desk, blob, destination), f"get {blob.cid}")
        return

    async def begin(text: str) -> bool:
        if not text.strip():
            return False
        # The line is free again while the fetch goes on.
        start(desk, partial(_fetch, desk, blob, text), f"get {blob.cid}")
        return True

    # A folder will do: the node names the file in it.
    target = f"{Path.cwd()}/" if desk.hiding else str(Path.cwd() / file_name(blob.name.rstrip("/")))
    desk.ask(
        Question(
            "save as", begin, value=target, placeholder="a file, or a folder", path=True, enter="fetches"
        )
    )


async def _fetch(desk: Desk, blob: BlobView, text: str) -> None:
    destination = absolute(text)
    if await asyncio.to_thread(destination.is_file):
        desk.say(f"{destination} is there already; choose another name.", "bad")
        return

    def progress(step: Progress) -> None:
        desk.model.take_transfer(blob.cid, step, desk.clock())
        desk.files.show(desk.model, desk.clock())

    desk.say(f"Fetching {safe(blob.name, 40)}, {size_in_words(blob.size)}.", "dim")
    try:
        reply = await desk.session.call(GetBlob(blob.cid, str(destination)), progress=progress)
    except MeshconsoleError as error:
        desk.say(f"{safe(blob.name, 40)}: {error}", "bad")
    else:
        desk.say(reply.verdict.sentence or f"Saved {destination}.", "good")
    finally:
        desk.model.end_transfer(blob.cid)
        desk.files.show(desk.model, desk.clock())


@verb("file.pause")
async def pause(desk: Desk, _: str) -> None:
    """Pauses the fetch of a file, or goes on with it."""
    blob = current(desk)
    if blob is None:
        return
    if blob.state == "here":
        desk.say(f"{safe(blob.name, 40)} is here already.", "warn")
    elif blob.state in ("paused", "failed", "elsewhere", "partial"):
        await attempt(desk, FetchBlob(blob.cid), f"Fetching {safe(blob.name, 40)} in the background.")
    else:
        await attempt(desk, PauseFetch(blob.cid), f"{safe(blob.name, 40)} waits.")


@verb("file.read")
async def read(desk: Desk, _: str) -> None:
    """The first lines of a text."""
    blob = current(desk)
    if blob is None:
        return
    reply = await attempt(desk, PreviewBlob(blob.cid))
    if reply is not None and isinstance(reply.data, LinesData):
        facts = [("", line) for line in reply.data.lines]
        desk.app.push_screen(Read(safe(blob.name, 40), facts, desk.profile))


@verb("file.export")
def export(desk: Desk, destination: str) -> None:
    """A CAR file of what is under the cursor, sealed as it is."""
    if not _shares_files(desk):
        return
    blob = current(desk)
    if blob is None:
        return

    async def write(text: str) -> bool:
        if not text.strip():
            return False
        path = absolute(text)
        command = ExportCar((blob.cid,), str(path))
        return await attempt(desk, command, f"Written, sealed, to {path}.") is not None

    if destination:
        start(desk, partial(write, destination), f"export {blob.cid}")
        return
    target = str(Path.cwd() / f"{file_name(blob.name.rstrip('/'))}.car")
    desk.ask(
        Question(
            "export, sealed, as",
            write,
            value=target,
            placeholder="a new CAR file",
            path=True,
            enter="writes it",
        )
    )


@verb("file.pin")
async def pin(desk: Desk, _: str) -> None:
    blob = current(desk)
    if blob is None:
        return
    name = safe(blob.name, 40)
    if blob.pinned:
        await attempt(desk, Unpin(blob.cid), f"{name} may be dropped when room is needed.")
    else:
        await attempt(desk, Pin(blob.cid), f"{name} stays on this node.")


@verb("file.drop")
async def drop(desk: Desk, _: str) -> None:
    """Asks nothing: what others hold can be fetched again, and the node refuses to drop the last copy."""
    blob = current(desk)
    if blob is not None:
        await attempt(desk, DropBlob(blob.cid), f"{safe(blob.name, 40)} is no longer on this node.")


def current(desk: Desk) -> BlobView | None:
    blob = desk.files.listing.current()
    if blob is None:
        desk.say(f"There is no file here yet. Press {desk.keymap.key('file.add')} to add one.", "warn")
    return blob


def _shares_files(desk: Desk) -> bool:
    """Whether the node opens the file that a path means here; says why, if it does not."""
    if desk.session.no_paths:
        desk.say(desk.session.no_paths, "warn", private=False)
    return not desk.session.no_paths


def absolute(text: str) -> Path:
    """What a person types as a path, as the node needs it: its working folder is another one."""
    return Path(os.path.abspath(Path(text.strip()).expanduser()))


def file_name(name: str) -> str:
    """A file name made of what a stranger called the file: no folder, not hidden, nothing unseen."""
    plain = safe(name, 120).replace(REPLACEMENT, "").replace("/", "_").replace("\\", "_").strip(" .")
    return plain or "file"


def complete(text: str) -> str:
    """`text` with the last name completed as far as the files there agree."""
    typed = Path(text).expanduser()
    folder, start = (typed, "") if text.endswith("/") or not text else (typed.parent, typed.name)
    try:
        with os.scandir(folder) as entries:
            names = sorted(
                entry.name + ("/" if entry.is_dir() else "")
                for entry in entries
                if entry.name.startswith(start) and (start or not entry.name.startswith("."))
            )
    except OSError:
        return text
    if not names:
        return text
    # Sorted, so what the first and the last agree on is what all do.
    first, last = names[0], names[-1]
    agreed = next(
        (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    return text[: len(text) - len(start)] + first[:agreed] if agreed > len(start) else text
