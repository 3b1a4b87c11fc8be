"""The team's files and folders: sealed on the way in, fetched by CID, opened on the way out.

A file is sealed under a key of its own and added to the content store; its name, size and wrapped
key travel in a sealed manifest event. Whoever may open the manifest may open the file; every other
node sees ciphertext and a CID.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from meshconsole.content.layout import UNIXFS_V1_2025, UNIXFS_V1_SHA512
from meshconsole.content.store.roots import OWNER, Pin
from meshconsole.core.errors import CorruptData, Fatal, Refused, RemoteError, Unavailable
from meshconsole.core.status import BlobState, BlobView
from meshconsole.core.text import safe
from meshconsole.crypto.sealing import StreamOpener, seal_stream, sealed_size
from meshconsole.node.folders import scan, write_folder
from meshconsole.node.previewing import as_text
from meshconsole.node.sources import counting, media_type, pieces, regular_size, sealed_sources
from meshconsole.node.writing import exists_already, write_whole
from meshconsole.team.files import FileEntry
from meshconsole.team.folders import (
    FOLDER_TYPE,
    LISTING_NAME,
    MAX_FILES,
    MAX_LISTING_BYTES,
    FolderFile,
    decode_listing,
    encode_listing,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
    from pathlib import Path

    from meshconsole.content.carrying import Imported
    from meshconsole.content.happenings import FetchProgress, FetchState
    from meshconsole.content.replication import Copies
    from meshconsole.content.service import Content
    from meshconsole.content.store.roots import Presence
    from meshconsole.content.store.scrubbing import Scrubbed
    from meshconsole.control.server import Report
    from meshconsole.core.event import Event
    from meshconsole.core.verdict import Verdict
    from meshconsole.team.state import Team

_PROFILE_OF = {"sha2-256": UNIXFS_V1_2025, "sha2-512": UNIXFS_V1_SHA512}
"""By the multihash that the team's suite names."""
PREVIEW_BYTES = 32 * 1024
PREVIEW_LINES = 1000
MAX_REPAIRS = 256
"""Damaged blocks of one file that are fetched again before giving up."""


class Known(msgspec.Struct):
    """One file as its manifest tells it, and how a fetch of it stands."""

    entry: FileEntry
    author: str
    added_at: float
    fetching: bool = False
    error: str = ""


class TeamFiles:
    def __init__(
        self,
        content: Content,
        team: Callable[[], Team | None],
        publish: Callable[[Event], Awaitable[Verdict]],
        changed: Callable[[BlobView], None],
        clock: Callable[[], float],
        copies: Callable[[str], Copies] | None = None,
    ) -> None:
        """`copies` tells of how many copies of a root there are."""
        self._copies = copies
        self._content = content
        self._team = team
        self._publish = publish
        self._changed = changed
        self._clock = clock
        self._known: dict[str, Known] = {}

    def learn(self, event: Event) -> None:
        """A manifest that was stored. One that this node cannot open is left alone."""
        team = self._team()
        if team is None:
            return
        try:
            entry = team.open_manifest(event)
        except (Refused, RemoteError):
            return
        member = team.member(event.pubkey)
        author = member.name if member is not None else event.pubkey[:8]
        if entry.cid not in self._known:
            self._known[entry.cid] = Known(entry, author, event.created_at)
            self._changed(self.view(entry.cid))

    def knows(self, cid: str) -> bool:
        return cid in self._known

    def presence_changed(self, cid: str) -> None:
        """The content store holds more or less of a file than before."""
        if cid in self._known:
            self._changed(self.view(cid))

    def views(self) -> tuple[BlobView, ...]:
        """Newest last."""
        return tuple(self.view(cid) for cid in self._known)

    def view(self, cid: str) -> BlobView:
        known = self._find(cid)
        present = self._content.presence(cid)
        copies = self._copies(cid) if self._copies is not None else None
        return BlobView(
            cid=cid,
            name=known.entry.name + ("/" if known.entry.media_type == FOLDER_TYPE else ""),
            size=known.entry.size,
            sealed_size=known.entry.sealed_size,
            author=known.author,
            added_at=known.added_at,
            present_bytes=present.bytes,
            state=_state(known, present, self._content.job_state(cid)),
            pinned=self._content.is_pinned(cid, OWNER),
            error=known.error,
            copies=self._names(copies.here) if copies is not None else (),
            copies_wanted=copies.wanted if copies is not None else 0,
            copies_away=self._names(copies.away) if copies is not None else (),
        )

    async def add(self, path: Path, report: Report) -> BlobView:
        """A file, or a folder with everything in it.

        Raises Refused (no team, quota, the team's rules, names), Fatal (it cannot be read).
        """
        team = self._team()
        if team is None:
            raise Refused("restricted", "Files are sealed for a team, and this node has none yet.")
        if await asyncio.to_thread(path.is_dir):
            return await self._add_folder(team, path, report)
        size = await asyncio.to_thread(regular_size, path)
        check_size(team, size)
        key = team.object_key()
        sealed = seal_stream(key, team.object_context(), pieces(path, counting(report, size)), size)
        added = await self._content.add(sealed, path.name, profile=_PROFILE_OF[team.suite.cid_hash])
        entry = FileEntry(added.cid, path.name, size, sealed_size(size), media_type(path.name), key)
        return await self._announced(team, entry)

    async def _add_folder(self, team: Team, path: Path, report: Report) -> BlobView:
        found = await asyncio.to_thread(scan, path)
        check_size(team, found.size)
        files = [FolderFile(file.path, file.size, team.object_key()) for file in found.files]
        listing, key = encode_listing(files), team.object_key()
        profile = _PROFILE_OF[team.suite.cid_hash]
        sources = sealed_sources(team, key, listing, files, found, counting(report, found.size))
        added = await self._content.add_folder(sources, path.name, profile=profile)
        sealed = sealed_size(len(listing)) + sum(sealed_size(file.size) for file in files)
        return await self._announced(
            team, FileEntry(added.cid, path.name, found.size, sealed, FOLDER_TYPE, key)
        )

    async def _announced(self, team: Team, entry: FileEntry) -> BlobView:
        try:
            verdict = await self._publish(team.seal_manifest(entry, int(self._clock())))
            if not verdict.accepted:
                raise Refused(verdict.code, verdict.sentence)
        except BaseException:
            await self._content.unpin(entry.cid)  # nobody could ever open it
            raise
        return self.view(entry.cid)

    async def get(self, cid: str, destination: Path, report: Report) -> Path:
        """Fetches what is missing, opens the file and writes it. Returns where it went.

        Raises Refused for an unknown file, Unavailable when nobody has it, Fatal for the disk.
        """
        known = self._find(cid)
        if await asyncio.to_thread(destination.is_dir):
            destination = destination / _file_name(known.entry.name)
        if await asyncio.to_thread(destination.exists):
            raise exists_already(destination)
        for _ in range(MAX_REPAIRS):
            await self._fetch(known, report)
            try:
                await self._open(known.entry, destination)
            except CorruptData:
                continue  # the damaged block was set aside; a teammate may hold a good one
            return destination
        raise Unavailable("Too many blocks of this file are damaged here.", hint="Check the disk or card.")

    async def preview(self, cid: str) -> tuple[str, ...]:
        """The first lines of a text, or the names in a folder, of what is whole here.

        Raises Refused (not here, no text), and as `get`.
        """
        entry, team = self._find(cid).entry, self._team()
        if team is None or not self._content.presence(cid).complete:
            raise Refused("invalid", "This file is not whole here.", hint="Fetch it first.")
        if entry.media_type == FOLDER_TYPE:
            files = await self._listing(team, entry, await self._content.list_folder(cid, MAX_FILES + 1))
            named = sorted((file.path, file.size) for file in files)
            return tuple(f"{size:>12} {path}" for path, size in named[:PREVIEW_LINES])
        read = bytearray()
        async with aclosing(self._opened(team, entry.key, cid)) as pieces:
            async for piece in pieces:
                read += piece
                if len(read) >= PREVIEW_BYTES:
                    break
        return as_text(bytes(read[:PREVIEW_BYTES]))

    async def pin(self, cid: str, pin: Pin = Pin()) -> BlobView:  # noqa: B008 - frozen
        """Kept here whatever the pressure, and fetched if it is not here yet."""
        await self._content.pin(self._find(cid).entry.cid, self._find(cid).entry.name, pin)
        self.presence_changed(cid)
        return self.view(cid)

    async def unpin(self, cid: str) -> BlobView:
        await self._content.unpin(self._find(cid).entry.cid)
        return self.view(cid)

    def name_of(self, cid: str) -> str:
        known = self._known.get(cid)
        return known.entry.name if known is not None else ""

    def jobs(self) -> list[FetchProgress]:
        return self._content.jobs()

    async def start_fetch(self, cid: str) -> str:
        """In the background. Returns a sentence."""
        entry = self._find(cid).entry
        if not await self._content.start_fetch(cid, name=entry.name):
            return "It is here already."
        return "Fetching in the background. See: meshconsole blobs jobs"

    async def pause_fetch(self, cid: str) -> None:
        if not await self._content.pause_fetch(cid):
            raise _no_job(cid)

    async def cancel_fetch(self, cid: str) -> None:
        if not await self._content.cancel_fetch(cid):
            raise _no_job(cid)
        self.presence_changed(cid)

    async def drop(self, cid: str, *, force: bool) -> int:
        """Returns the bytes freed. Raises Refused where it may be the last copy, but with `force`."""
        view = self.view(cid)
        others = len(view.copies) - (view.state == "here")
        if view.present_bytes and others < 1 and not force:
            raise Refused(
                "restricted",
                "No other device is known to hold this file: it could be the last copy.",
                hint="To remove it all the same: meshconsole blobs drop --force CID",
            )
        return await self._content.drop(cid)

    async def export_car(self, cids: Iterable[str], path: Path, report: Report) -> int:
        """Returns the bytes written. Raises Refused, Unavailable (not whole here), Fatal (the disk)."""
        known = [self._find(cid).entry.cid for cid in cids]
        written = 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal written
            async for piece in self._content.export_car(*known):
                yield piece
                written += len(piece)
                report(written, None, "exporting")

        try:
            await write_whole(path, counted())
        except OSError as error:
            raise Fatal(f"Cannot write {safe(str(path))}: {error.strerror}.") from error
        return written

    async def import_car(self, path: Path, report: Report) -> Imported:
        """Raises RemoteError (damaged), Refused (quota), Unavailable (the disk is full), Fatal."""
        size = await asyncio.to_thread(regular_size, path)
        return await self._content.import_car(pieces(path, counting(report, size, "importing")), path.name)

    def scrub(self) -> AsyncIterator[Scrubbed]:
        return self._content.scrub()

    async def _fetch(self, known: Known, report: Report) -> None:
        cid = known.entry.cid
        known.fetching, known.error = True, ""
        self._changed(self.view(cid))
        try:
            async for progress in self._content.fetch(cid):
                report(progress.have_bytes, progress.total_bytes or known.entry.sealed_size, "fetching")
        except (Unavailable, Refused, RemoteError) as error:
            known.error = error.sentence
            raise
        finally:
            known.fetching = False
            self._changed(self.view(cid))

    async def _open(self, entry: FileEntry, destination: Path) -> None:
        team = self._team()
        if team is None:
            raise Refused("restricted", "This node has left its team.")
        try:
            if entry.media_type == FOLDER_TYPE:
                await self._open_folder(team, entry, destination)
            else:
                await write_whole(destination, self._opened(team, entry.key, entry.cid))
        except OSError as error:
            raise Fatal(
                f"Cannot write {safe(str(destination))}: {error.strerror}.",
                hint="Choose another place with -o.",
            ) from error

    async def _open_folder(self, team: Team, entry: FileEntry, destination: Path) -> None:
        parts = await self._content.list_folder(entry.cid, MAX_FILES + 1)
        files = await self._listing(team, entry, parts)
        sources = (
            (file.path, self._opened(team, file.key, _part(parts, str(number))))
            for number, file in enumerate(files, 1)
        )
        await write_folder(destination, sources)

    async def _listing(self, team: Team, entry: FileEntry, parts: dict[str, str]) -> tuple[FolderFile, ...]:
        listing = bytearray()
        async for piece in self._opened(team, entry.key, _part(parts, LISTING_NAME)):
            listing += piece
            if len(listing) > MAX_LISTING_BYTES:
                raise RemoteError("oversize", "The listing of the folder is larger than any may be.")
        return decode_listing(bytes(listing))

    async def _opened(self, team: Team, key: bytes, cid: str) -> AsyncGenerator[bytes, None]:
        opener = StreamOpener(key, team.object_context())
        async for piece in self._content.read(cid):
            yield opener.update(piece)
        yield opener.finish()

    def _names(self, npubs: tuple[str, ...]) -> tuple[str, ...]:
        team = self._team()
        members = [team.member(npub) if team is not None else None for npub in npubs]
        return tuple(
            sorted(m.name if m is not None else npub[:8] for m, npub in zip(members, npubs, strict=True))
        )

    def _find(self, cid: str) -> Known:
        known = self._known.get(cid)
        if known is None:
            raise Refused(
                "invalid",
                f"No file of this team has the CID {safe(cid, 80)}.",
                hint="List them: meshconsole blobs",
            )
        return known


def _no_job(cid: str) -> Refused:
    return Refused(
        "invalid",
        f"Nothing is being fetched under the CID {safe(cid, 80)}.",
        hint="List what is: meshconsole blobs jobs",
    )


def _state(known: Known, present: Presence, job: FetchState | None) -> BlobState:
    if known.fetching:
        return "fetching"
    if present.complete:
        return "here"
    if job in ("fetching", "paused", "failed"):
        return job
    if known.error:
        return "failed"
    return "partial" if present.bytes else "elsewhere"


def check_size(team: Team, size: int) -> None:
    most_mb = team.rules.max_file_mb
    if most_mb is not None and size > most_mb * 1_000_000:
        raise Refused(
            "restricted",
            f"The team takes files of at most {most_mb} MB, and this one has {size / 1e6:.1f} MB.",
            hint="An admin can change the rule: meshconsole team policy max_file_mb=MB",
        )


def _part(parts: dict[str, str], name: str) -> str:
    if name not in parts:
        raise RemoteError("bad-directory", f"The folder lacks its entry {name}.")
    return parts[name]


def _file_name(name: str) -> str:
    """A name that a teammate chose, as a plain file name in the folder that was asked for."""
    plain = safe(name.replace("/", "_").replace("\\", "_"), 200).strip(" .")
    return plain or "file"
