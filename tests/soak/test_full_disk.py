"""A disk that others fill while a file comes: notes go on, and the file when there is room again."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from scripts.machine import Machine
from tests.soak.teamed import teamed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.soak, pytest.mark.e2e]

MEGABYTE = 1_000_000
FILE_BYTES = 40 * MEGABYTE
KEPT_FREE = 64 * MEGABYTE
"""What files leave: the reserve of the disk, and that for notes."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Of 200 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs a file system of its own; run the tests as root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def pair(tmp_path: Path, disk: Path) -> Iterator[tuple[Machine, Machine]]:
    yield from teamed(Machine(tmp_path, "alpha"), Machine(disk, "bravo"))


def test_notes_go_on_and_the_file_comes_when_there_is_room(
    pair: tuple[Machine, Machine], disk: Path, tmp_path: Path
) -> None:
    alpha, bravo = pair
    file = tmp_path / "plan"
    file.write_bytes(os.urandom(FILE_BYTES))
    cid = alpha.json("blobs", "add", str(file))[0]["cid"]
    bravo.wait("a link", lambda status: any(peer["links"] for peer in status["peers"]))
    ballast = disk / "ballast"
    room = random.randrange(1, FILE_BYTES - 2 * MEGABYTE)
    ballast.write_bytes(bytes(shutil.disk_usage(disk).free - KEPT_FREE - room))
    bravo.command("blobs", "fetch", cid)

    def job() -> dict[str, Any]:
        return next((dict(each) for each in bravo.json("blobs", "jobs") if each["cid"] == cid), {})

    bravo.wait("the reason", lambda _: "the disk is full" in str(job()))
    bravo.command("send", "written here all the same")
    alpha.command("send", "sent all the same")
    bravo.wait("the note", lambda _: "sent all the same" in bravo.texts())
    alpha.wait("the other", lambda _: "written here all the same" in alpha.texts())
    ballast.unlink()
    bravo.wait("the file", lambda _: not job(), 120)
    copy = tmp_path / "copy"
    bravo.command("blobs", "get", cid, "-o", str(copy))
    assert copy.read_bytes() == file.read_bytes()
    assert not bravo.json("blobs", "scrub")["damaged"]
