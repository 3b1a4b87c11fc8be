"""A content store in a temporary folder, with a quota, a clock and an ear for what it tells."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import pytest

from meshconsole.content.happenings import FetchProgress
from meshconsole.content.layout import Profile
from meshconsole.content.service import Content
from meshconsole.content.store import pinned
from meshconsole.content.store.blockstore import FlatBlockStore
from meshconsole.core.errors import Refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

H = TypeVar("H")

KEY = bytes(range(32))
MIB = 1 << 20
SMALL = Profile("small", 1000, 8, raw_leaves=True, cid_version=1)


@dataclass
class FakeQuota:
    limit: int = 1 << 40
    used: int = 0
    highest: int = 0

    def reserve(self, count: int) -> None:
        assert count >= 0
        if self.used + count > self.limit:
            raise Refused("restricted", "quota: the test's storage is full")
        self.used += count
        self.highest = max(self.highest, self.used)

    def release(self, count: int) -> None:
        self.used -= count
        assert self.used >= 0


@dataclass
class FakeClock:
    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class World:
    path: Path
    quota: FakeQuota = field(default_factory=FakeQuota)
    clock: FakeClock = field(default_factory=FakeClock)
    heard: list[object] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    all_files: bool = False
    """Whether small blocks are files too, for tests that damage one."""

    @asynccontextmanager
    async def content(self) -> AsyncIterator[Content]:
        content = Content(
            self.path,
            KEY,
            quota=self.quota,
            emit=self.emit,
            clock=self.clock,
            blocks=FlatBlockStore(self.path) if self.all_files else None,
        )
        async with AsyncExitStack() as stack:
            await content.start()
            stack.push_async_callback(content.stop)
            yield content

    def emit(self, happening: object) -> None:
        self.heard.append(happening)
        self.news.set()

    async def hears(self, is_it: Callable[[object], bool]) -> None:
        """Returns once something like that has been told, from now on."""
        start = len(self.heard)
        while not any(map(is_it, self.heard[start:])):
            self.news.clear()
            await self.news.wait()

    def heard_of(self, kind: type[H]) -> list[H]:
        return [happening for happening in self.heard if isinstance(happening, kind)]

    def block_files(self) -> list[Path]:
        return list((self.path / "blocks").glob("*/*"))

    def file_with(self, data: bytes) -> Path:
        (found,) = [file for file in self.block_files() if file.read_bytes() == data]
        return found


class Team:
    """Some nodes, each with a folder of its own."""

    def __init__(self, path: Path, stack: AsyncExitStack) -> None:
        self.worlds = {name: World(path / name, all_files=True) for name in ("me", "p", "q")}
        self._stack = stack

    async def start(self, name: str) -> Content:
        return await self._stack.enter_async_context(self.worlds[name].content())


@pytest.fixture(autouse=True)
def pins_are_counted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is."""
    monkeypatch.setattr(pinned, "SLOW_COUNT_S", float("inf"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "blobs")


@pytest.fixture
async def team(tmp_path: Path) -> AsyncIterator[Team]:
    async with AsyncExitStack() as stack:
        yield Team(tmp_path, stack)


async def read_whole(content: Content, cid: str) -> bytes:
    return b"".join([piece async for piece in content.read(cid)])


async def scrubbed(content: Content) -> int:
    """How many blocks were damaged."""
    done = [step async for step in content.scrub(pause_s=0)]
    return done[-1].damaged if done else 0


async def fetched(content: Content, cid: str, deadline_s: float = 20.0) -> list[FetchProgress]:
    return [progress async for progress in content.fetch(cid, deadline_s=deadline_s)]


def is_done(happening: object) -> bool:
    return isinstance(happening, FetchProgress) and happening.state == "done"
