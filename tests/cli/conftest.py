"""A home, and a node's socket in it."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from meshconsole.core.home import Home
from tests.cli.scripted_node import ScriptedNode, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """The home that commands use; it does not exist yet. Times are shown in UTC."""
    for name in ("MESHCONSOLE_PASSPHRASE", "MESHCONSOLE_HOME"):
        monkeypatch.delenv(name, raising=False)
    home = Home(tmp_path / "home")
    monkeypatch.setenv("MESHCONSOLE_HOME", str(home.path))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.chdir(tmp_path)
    time.tzset()
    yield home
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def stopped_home(home: Home) -> Home:
    """It holds a node, which does not run."""
    home.path.mkdir(mode=0o700)
    home.keystore.write_bytes(b"sealed")
    home.keystore.chmod(0o600)
    return home


@pytest.fixture
def node(stopped_home: Home) -> Iterator[ScriptedNode]:
    """It runs."""
    node = ScriptedNode()
    with contextmanager(serve)(stopped_home.control_socket, node):
        yield node
