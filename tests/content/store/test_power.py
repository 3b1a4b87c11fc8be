"""Small blocks that were synced survive a power cut, whole, with half a write on the disk or without."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from meshconsole.content.store.smallblocks import SmallBlocks
from tests.content.conftest import KEY
from tests.content.small_writer import TOGETHER, block, is_kept

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
ROUNDS, CUTS = 8, 2


@contextmanager
def process(module: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=ROOT, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


@pytest.mark.slow
@pytest.mark.parametrize("torn", [False, True])
def test_small_blocks_that_were_synced_survive_a_power_cut(tmp_path: Path, torn: bool) -> None:
    if not os.access("/dev/fuse", os.R_OK | os.W_OK) or shutil.which("fusermount") is None:
        pytest.skip("needs /dev/fuse and Debian's package fuse (or fuse3)")
    try:
        import mfusepy  # noqa: F401
    except (ImportError, OSError):
        pytest.skip("needs mfusepy from PyPI and libfuse: pip install mfusepy")
    backing, mount = tmp_path / "backing", tmp_path / "mount"
    backing.mkdir()
    mount.mkdir()
    draw = random.Random(torn)
    acknowledged: list[range] = []
    start = TOGETHER
    for _ in range(ROUNDS):
        synced = start
        with process("tests.relay.powerfs", backing, mount, *(["torn"] if torn else [])) as disk:
            assert disk.stdin is not None
            assert disk.stdout is not None
            try:
                wait_for_mount(mount)
                with process("tests.content.small_writer", mount / "small.db", start) as writer:
                    assert writer.stdout is not None
                    for _ in range(draw.randrange(5, 60)):
                        synced = int(writer.stdout.readline() or synced)
                    print(file=disk.stdin, flush=True)
                    assert disk.stdout.readline() == "cut\n"
                    writer.kill()  # what it says from here on may never have reached the disk
            finally:
                subprocess.run(["fusermount", "-u", "-z", mount], check=True)
        if synced == start:
            continue  # the mount was not ready for it
        acknowledged.append(range(start, synced))
        check(backing / "small.db", acknowledged)
        start = synced + 10 * TOGETHER
        if len(acknowledged) == CUTS:
            return
    pytest.fail(f"only {len(acknowledged)} rounds got as far as a cut")


def check(database: Path, acknowledged: list[range]) -> None:
    store = SmallBlocks(database, KEY)
    store.open()
    for number in chain(*acknowledged):
        data = store.get(block(number).cid.multihash)
        # Whether the removal of another was done, nobody was told.
        assert data == block(number).data or (data is None and not is_kept(number))
    store.close()
    assert not database.with_name("small.db.damaged").exists()


def wait_for_mount(mount: Path) -> None:
    deadline = time.monotonic() + 20
    while not os.path.ismount(mount):
        if time.monotonic() > deadline:
            pytest.fail("the file system was not mounted")
        time.sleep(0.01)
