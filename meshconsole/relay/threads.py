"""Threads that do blocking work for the event loop.

What an executor with futures does, without their price: one event that is stored and acknowledged went
through four locks and six callbacks, a quarter of its time on the loop.
"""

from __future__ import annotations

import asyncio
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from meshconsole.core.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class LoopThreads:
    """`count` threads, started with the first work. Made on the loop that hears the results."""

    def __init__(self, count: int, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._count = count
        self._name = name
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._stopped = False

    def do(
        self,
        work: Callable[[], T],
        done: Callable[[T], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """Calls `work` in a thread, then `done` with what it returned or `failed` with what it raised, on
        the loop. With one thread, in the order of the calls."""
        if self._stopped:
            raise LocalError("Threads that were stopped are asked to work.")
        if not self._threads:
            self._start()

        def job() -> None:
            try:
                result = work()
            except BaseException as error:
                self._loop.call_soon_threadsafe(failed, error)
            else:
                self._loop.call_soon_threadsafe(done, result)

        self._jobs.put(job)

    async def run(self, work: Callable[[], T]) -> T:
        """The same for a coroutine, which may be cancelled meanwhile: the work is done all the same."""
        answer: asyncio.Future[T] = self._loop.create_future()

        def done(result: T) -> None:
            if not answer.done():
                answer.set_result(result)

        def failed(error: BaseException) -> None:
            if not answer.done():
                answer.set_exception(error)

        self.do(work, done, failed)
        return await answer

    def stop(self) -> None:
        """When what was asked for is done. Blocks until then."""
        self._stopped = True
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _start(self) -> None:
        for number in range(self._count):
            thread = threading.Thread(target=self._run, name=f"{self._name}_{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            job = None  # what it holds should not live until the next one comes
