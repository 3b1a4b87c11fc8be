"""A served socket for each test."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from meshconsole.control.server import ControlServer
from tests.control.handler import Handler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def handler() -> Handler:
    return Handler()


@pytest.fixture
async def server(tmp_path: Path, handler: Handler) -> AsyncIterator[ControlServer]:
    server = ControlServer(tmp_path / "control.sock", handler, asyncio.get_running_loop().time)
    await server.start()
    yield server
    await server.stop()
