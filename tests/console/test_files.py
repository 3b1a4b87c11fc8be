"""Files at the desk: added, fetched, read, paused, carried away, dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from textual.events import Paste

from meshconsole.control.files import AddBlob, ExportCar, FetchBlob, GetBlob, PauseFetch, Pin, Unpin
from tests.console.stage import sent, stage

if TYPE_CHECKING:
    from pathlib import Path


async def test_no_file_is_named_to_a_node_on_another_machine() -> None:
    """It would open a file of its own by that name: not the one that is meant, and perhaps a private one."""
    async with stage(no_paths="The node is elsewhere.") as play:
        desk = play.app.desk
        play.app.on_paste(Paste("/etc/hostname"))
        assert (play.notice, desk.entry_line.question) == ("The node is elsewhere.", None)
        await play.press("5", "g", "j", "j")
        for typed in ("add", "add /etc/hostname", "get", "get /tmp/out", "car", "car /tmp/out.car"):
            desk.say("")
            await play.press("colon")
            desk.entry_line.entry.value = typed
            await play.press("enter")
            await play.until(lambda: play.notice == "The node is elsewhere.")
            assert desk.entry_line.question is None, typed
        assert [*sent(play, AddBlob), *sent(play, GetBlob), *sent(play, ExportCar)] == []


async def test_files(tmp_path: Path) -> None:
    (tmp_path / "plan.pdf").write_text("plan")
    async with stage() as play:
        await play.press("a")
        entry = play.app.desk.entry_line.entry
        entry.value = str(tmp_path / "pl")
        await play.press("tab")
        assert entry.value == str(tmp_path / "plan.pdf")
        await play.press("enter")
        await play.until_shown("Added plan.pdf.")
        assert sent(play, AddBlob) == [AddBlob(str(tmp_path / "plan.pdf"))]
        await play.press("a")
        entry.value = str(tmp_path / "absent")
        await play.press("enter")
        await play.until_shown("There is no ")
        await play.press("escape", "5", "g", "j", "j", "enter")
        await play.until(lambda: play.app.desk.entry_line.question is not None)
        assert entry.value.endswith("/blood-list.pdf")
        entry.value = str(tmp_path / "out.pdf")
        await play.press("enter")
        await play.until_shown("Saved")
        (fetched,) = sent(play, GetBlob)
        assert isinstance(fetched, GetBlob)
        assert fetched.destination == str(tmp_path / "out.pdf")
        await play.until(lambda: play.node.blobs[fetched.cid].state == "here")
        assert play.app.desk.model.transfers == {}
        await play.press("f")
        entry.value = str(tmp_path / "plan.pdf")
        await play.press("enter")
        await play.until(lambda: "is there already" in play.notice)
        await play.press("p")
        await play.until(lambda: sent(play, Pin))
        await play.until(lambda: play.app.desk.model.blobs[fetched.cid].pinned)
        await play.press("p")
        await play.until(lambda: sent(play, Unpin))
        await play.press("y")
        assert play.app.clipboard == fetched.cid


async def test_a_file_is_read_paused_carried_away_and_dropped_on_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "a b.txt").write_text("plan")
    async with stage() as play:
        desk = play.app.desk
        await play.press("5", "g", "v")
        await play.until_shown("water at the north well")
        assert "\x1b]52" not in play.picture
        await play.press("escape", "g", "j", "j", "w")
        await play.until(lambda: sent(play, FetchBlob))
        (begun,) = sent(play, FetchBlob)
        assert isinstance(begun, FetchBlob)
        await play.until(lambda: desk.model.blobs[begun.cid].state == "fetching")
        await play.press("w")
        await play.until(lambda: sent(play, PauseFetch))
        await play.press("x")
        desk.entry_line.entry.value = str(tmp_path / "out.car")
        await play.press("enter")
        await play.until(
            lambda: sent(play, ExportCar) == [ExportCar((begun.cid,), str(tmp_path / "out.car"))]
        )
        await play.until(lambda: desk.entry_line.question is None)
        play.app.post_message(Paste(f"'{tmp_path}/a b.txt' "))
        await play.until(lambda: desk.entry_line.question is not None)
        assert desk.entry_line.entry.value == str(tmp_path / "a b.txt")
        await play.press("enter")
        await play.until(lambda: sent(play, AddBlob) == [AddBlob(str(tmp_path / "a b.txt"))])


async def test_how_fast_a_file_comes_and_when_it_will_be_here() -> None:
    async with stage() as play:
        desk = play.app.desk
        blob = next(blob for blob in desk.model.files() if blob.state == "fetching")
        for second in range(6):
            now = desk.clock() - 5 + second
            held = msgspec.structs.replace(blob, present_bytes=second * 1000, sealed_size=65_000)
            desk.model.take_blobs((held,), now)
        desk.files.show(desk.model, desk.clock())
        await play.press("5")
        await play.until_shown("1.0 kB/s 1m")
