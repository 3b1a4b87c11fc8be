from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from meshconsole.core.config import RELOADABLE, Config, ConfigError, changed_keys
from meshconsole.core.home import Home
from meshconsole.node.config_file import load_config
from meshconsole.node.reloading import Reloading

if TYPE_CHECKING:
    from pathlib import Path

    from meshconsole.node.applying import Applying
    from meshconsole.node.ground import Ground


class Recorder:
    """As much of a node as reading the configuration again touches."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.config = Config()
        self.waiting: set[str] = set()
        self.certificate = None
        self.recorded: list[dict[str, str]] = []
        self.notices: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    def adopt(self, config: Config) -> None:
        self.waiting |= changed_keys(self.config, config) - RELOADABLE
        self.config = config

    def record(self, act: str, **detail: str) -> None:
        self.recorded.append({"act": act, **detail})

    def notice(self, severity: str, text: str, remedy: str = "") -> None:
        self.notices.put_nowait((severity, text))


@pytest.fixture
def node(tmp_path: Path) -> Recorder:
    return Recorder(Home(tmp_path))


@pytest.fixture
def reloading(node: Recorder) -> Reloading:
    made = Reloading(cast("Ground", node), cast("Applying", node))
    made.reread = lambda: load_config(node.home, environment={})
    return made


async def test_what_changed_is_told_and_recorded(node: Recorder, reloading: Reloading) -> None:
    following = asyncio.create_task(reloading.follow())
    node.home.config.write_text('[limits]\nmax_connections = 9\n[node]\nlisten = "127.0.0.1:1"\n')
    reloading.ask()
    assert await node.notices.get() == (
        "info",
        "The configuration was read again: limits.max_connections, node.listen."
        " At the next start: node.listen.",
    )
    assert node.config.limits.max_connections == 9
    assert node.recorded == [
        {"act": "config", "keys": "limits.max_connections, node.listen", "how": "read again"}
    ]
    reloading.ask()
    assert await node.notices.get() == ("info", "The configuration was read again: nothing has changed.")
    assert len(node.recorded) == 1
    following.cancel()


async def test_every_problem_is_named_and_nothing_changes(node: Recorder, reloading: Reloading) -> None:
    following = asyncio.create_task(reloading.follow())
    node.home.config.write_text("[limits]\nmax_connections = 0\nmax_storage_mb = 9\n[relay]\nlimit = 3\n")
    reloading.ask()
    severity, text = await node.notices.get()
    assert severity == "warning"
    assert "limits.max_connections" in text
    assert "relay.limit" in text
    assert node.config == Config()
    assert not node.recorded
    with pytest.raises(ConfigError):
        await reloading.reload()
    node.home.config.write_text("")
    reloading.ask()
    assert (await node.notices.get())[0] == "info", "it goes on after a failure"
    following.cancel()
