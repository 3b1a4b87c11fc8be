"""The team's files and folders on two nodes that have one content store between them."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from meshconsole.content.formats.cid import RAW, Cid
from meshconsole.content.service import Content
from meshconsole.core.errors import Fatal, Refused, RemoteError
from meshconsole.core.verdict import ACCEPTED, Verdict
from meshconsole.node.content_room import is_of_team
from meshconsole.node.files import TeamFiles
from tests.team.devices import NOW, Device, founder, join

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from meshconsole.core.event import Event
    from meshconsole.core.status import BlobView


KEPT = Cid.v0(b"kept by a teammate")


class Unlimited:
    def reserve(self, count: int) -> None:
        del count

    def release(self, count: int) -> None:
        del count


@dataclass
class Site:
    """Two devices; what `mine` publishes `theirs` learns."""

    content: Content
    mine: TeamFiles
    theirs: TeamFiles
    reports: list[tuple[int, int | None, str]] = field(default_factory=list)

    def report(self, have: int, total: int | None, words: str = "") -> None:
        self.reports.append((have, total, words))


@asynccontextmanager
async def a_site(path: Path) -> AsyncIterator[Site]:
    content = Content(
        path / "blobs", bytes(32), quota=Unlimited(), emit=lambda _: None, clock=lambda: float(NOW)
    )
    alpha = founder()
    bravo = join(alpha, "bravo")
    async with AsyncExitStack() as stack:
        await content.start()
        stack.push_async_callback(content.stop)

        def files_of(device: Device) -> TeamFiles:
            return TeamFiles(content, lambda: device.team, publish, lambda _: None, lambda: float(NOW))

        async def publish(event: Event) -> Verdict:
            for files in (mine, theirs):
                files.learn(event)
            return ACCEPTED

        mine, theirs = files_of(alpha), files_of(bravo)
        yield Site(content, mine, theirs)


async def test_a_root_of_the_teams_is_known_by_its_multihash(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        (tmp_path / "note").write_bytes(os.urandom(1000))
        view = await site.mine.add(tmp_path / "note", site.report)
        replicating = SimpleNamespace(holders=lambda cid: {"bravo"} if cid == str(KEPT) else set())
        node: Any = SimpleNamespace(files=site.theirs, replicating=replicating)
        assert is_of_team(node, Cid.parse(view.cid).multihash)
        assert is_of_team(node, KEPT.multihash)
        assert not is_of_team(node, Cid.of(RAW, b"of somebody else").multihash)


def tree_of(folder: Path) -> dict[str, bytes]:
    return {
        place.relative_to(folder).as_posix(): place.read_bytes()
        for place in folder.rglob("*")
        if place.is_file()
    }


def make(folder: Path, files: dict[str, bytes]) -> Path:
    for path, data in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return folder


async def add(site: Site, path: Path) -> BlobView:
    return await site.mine.add(path, site.report)


async def test_a_folder_is_one_thing(tmp_path: Path) -> None:
    files = {"plan.txt": b"plan", "empty": b"", "maps/a.png": os.urandom(70_000), "maps/deep/写真.jpg": b"j"}
    folder = make(tmp_path / "mission", files)
    (folder / "link").symlink_to(folder / "plan.txt")
    (folder / "loop").symlink_to(folder)
    async with a_site(tmp_path) as site:
        view = await add(site, folder)
        assert view.name == "mission/"
        assert view.size == sum(map(len, files.values()))
        assert view.state == "here"
        assert view.pinned
        await asyncio.sleep(0)
        assert site.reports[-1] == (view.size, view.size, "sealing")
        got = await site.theirs.get(view.cid, tmp_path / "copy", site.report)
        assert tree_of(got) == files
        into = tmp_path / "into"
        into.mkdir()
        assert await site.theirs.get(view.cid, into, site.report) == into / "mission"


async def test_neither_names_nor_content_are_in_the_blocks(tmp_path: Path) -> None:
    folder = make(tmp_path / "mission", {"the-name-of-it": b"the-content-of-it"})
    async with a_site(tmp_path) as site:
        await add(site, folder)
        stored = b"".join(tree_of(tmp_path / "blobs" / "blocks").values())
        assert b"the-name" not in stored
        assert b"the-content" not in stored


async def test_nothing_is_left_of_a_folder_that_cannot_be_added(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        for files, error in (({"ok": b"x", "bad\nname": b"y"}, Refused), ({}, Refused)):
            folder = make(tmp_path / str(len(files)), files)
            folder.mkdir(exist_ok=True)
            with pytest.raises(error):
                await add(site, folder)
        with pytest.raises(Fatal):
            await add(site, tmp_path / "absent")
        assert site.content.usage().blocks == 0


async def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = make(tmp_path / "mission", {"a": b"a", "b": os.urandom(3000)})
    async with a_site(tmp_path) as site:
        view = await add(site, folder)
        parts = await site.content.list_folder(view.cid)
        # The second file of it is another file of the same team: it opens under another key only.
        other = await add(site, make(tmp_path, {"other": b"other"}) / "other")
        bad = await site.content.add_folder([], "bad")
        (tmp_path / "there").mkdir()
        (tmp_path / "there" / "mission").mkdir()
        with pytest.raises(Refused):
            await site.theirs.get(view.cid, tmp_path / "there", site.report)
        with pytest.raises(RemoteError):
            _ = [piece async for piece in site.content.read(view.cid)]
        assert len(parts) == 3
        assert other.cid not in parts.values()
        assert await site.content.list_folder(bad.cid) == {}
        assert not [name for name in os.listdir(tmp_path) if name.startswith(".meshconsole-")]


async def test_the_last_copy_is_not_dropped_by_mistake(tmp_path: Path) -> None:
    make(tmp_path, {"file": os.urandom(9000)})
    async with a_site(tmp_path) as site:
        view = await add(site, tmp_path / "file")
        with pytest.raises(Refused, match="last copy"):
            await site.mine.drop(view.cid, force=False)
        assert site.mine.view(view.cid).state == "here"
        assert await site.mine.drop(view.cid, force=True) > 9000
        assert site.mine.view(view.cid).state == "elsewhere"
        assert site.content.usage().blocks == 0
        assert await site.mine.drop(view.cid, force=False) == 0


async def test_files_travel_as_car_files(tmp_path: Path) -> None:
    data = os.urandom(1_500_000)
    make(tmp_path, {"file": data})
    async with a_site(tmp_path) as site:
        view = await add(site, tmp_path / "file")
        size = await site.mine.export_car([view.cid], tmp_path / "out.car", site.report)
        assert (tmp_path / "out.car").stat().st_size == size > len(data)
        with pytest.raises(Refused):
            await site.mine.export_car([view.cid], tmp_path / "out.car", site.report)
        await site.mine.drop(view.cid, force=True)
        taken = await site.mine.import_car(tmp_path / "out.car", site.report)
        assert (taken.roots, taken.blocks, taken.skipped) == ((view.cid,), view_blocks(size), 0)
        got = await site.theirs.get(view.cid, tmp_path / "copy", site.report)
        assert got.read_bytes() == data


def view_blocks(size: int) -> int:
    """Leaves of 1 MiB and the block over them."""
    return -(-size // (1 << 20)) + 1


async def test_the_first_lines_of_a_text_and_the_names_of_a_folder(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        text = tmp_path / "notes.txt"
        text.write_bytes("first é\nsecond \x1b[2J\n".encode() + b"more\n" * 100_000)
        lines = await site.theirs.preview((await add(site, text)).cid)
        assert lines[:2] == ("first é", "second \x1b[2J")
        assert len(lines) == 1000
        picture = tmp_path / "a.png"
        picture.write_bytes(bytes(range(256)) * 10)
        with pytest.raises(Refused, match="not a text"):
            await site.theirs.preview((await add(site, picture)).cid)
        folder = await add(site, make(tmp_path / "folder", {"a/b.txt": b"12345", "c": b""}))
        assert [line.split() for line in await site.theirs.preview(folder.cid)] == [
            ["5", "a/b.txt"],
            ["0", "c"],
        ]
        await site.content.drop(folder.cid)
        with pytest.raises(Refused, match="not whole here"):
            await site.theirs.preview(folder.cid)
