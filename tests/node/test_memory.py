"""What the operating system may do with a node's memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

DIES = dedent(
    """
    import ctypes, os, resource, signal, sys
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    secret = "planted " + "in memory"
    if sys.argv[1] == "private":
        from meshconsole.node.memory import keep_memory_private
        keep_memory_private()
        assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 0  # PR_GET_DUMPABLE
        assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
    os.kill(os.getpid(), signal.SIGABRT)
    """
)


def cores_of(kind: str, folder: Path) -> list[Path]:
    """What is left in `folder` by a process that crashed there."""
    done = subprocess.run(
        [sys.executable, "-c", DIES, kind],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(os.getcwd())},
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGABRT
    return list(folder.iterdir())


def test_a_crash_leaves_no_core(tmp_path: Path) -> None:
    assert cores_of("private", tmp_path) == []


def test_the_crash_would_have_left_one(tmp_path: Path) -> None:
    """Else the test above would prove nothing here."""
    if not cores_of("open", tmp_path):
        pytest.skip("this system writes its core files elsewhere or not at all")
