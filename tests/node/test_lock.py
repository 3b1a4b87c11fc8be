"""One node per home."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from meshconsole.core.errors import Fatal, Unavailable
from meshconsole.core.home import Home
from meshconsole.node.lock import HomeLock

if TYPE_CHECKING:
    from pathlib import Path


def test_a_second_node_is_told_who_holds_the_home(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with HomeLock(home):
        with pytest.raises(Fatal, match=f"already runs .*process {os.getpid()}") as caught:
            HomeLock(home).acquire()
        assert caught.value.exit_code == 3
    with HomeLock(home):
        pass


def test_a_lock_left_by_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.lock.write_text("99999999\n")
    with HomeLock(home):
        assert home.lock.read_text() == f"{os.getpid()}\n"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="Cannot write in"):
        HomeLock(Home(tmp_path / "gone")).acquire()


def test_a_full_disk_is_named_and_the_home_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(Unavailable, match="no space left"):
            HomeLock(Home(tmp_path)).acquire()
    with HomeLock(Home(tmp_path)):
        pass
