"""The threads that do content's blocking work: a few for files, one for the index, one for marking."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

FILE_THREADS = 3
"""One hashes while others wait for the disk."""


class Threads:
    """A cancellation is passed on only after the thread is done: no work is left over behind a caller."""

    def __init__(self) -> None:
        self._file = ThreadPoolExecutor(FILE_THREADS, "content-file")
        self._index = ThreadPoolExecutor(1, "content-index")
        self._mark = ThreadPoolExecutor(1, "content-mark")

    async def on_file(self, function: Callable[..., T], *args: object) -> T:
        return await to_its_end(self.start_on_file(function, *args))

    async def on_index(self, function: Callable[..., T], *args: object) -> T:
        return await to_its_end(asyncio.get_running_loop().run_in_executor(self._index, function, *args))

    async def on_mark(self, function: Callable[..., T], *args: object) -> T:
        return await to_its_end(asyncio.get_running_loop().run_in_executor(self._mark, function, *args))

    def start_on_file(self, function: Callable[..., T], *args: object) -> asyncio.Future[T]:
        """For callers that must know how it ended even if they were cancelled; see `to_its_end`."""
        return asyncio.get_running_loop().run_in_executor(self._file, function, *args)

    def close(self) -> None:
        """When nothing is running any more."""
        self._file.shutdown()
        self._index.shutdown()
        self._mark.shutdown()


async def to_its_end(work: asyncio.Future[T]) -> T:
    """The result; when cancelled, waits for the end all the same before it says so."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            await asyncio.wait([work])
        raise
