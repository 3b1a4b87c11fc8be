"""Threads that work for the loop."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from meshconsole.core.errors import LocalError
from meshconsole.relay.threads import LoopThreads


async def result_of(threads: LoopThreads, work: object) -> object:
    answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    threads.do(work, answer.set_result, answer.set_exception)  # type: ignore[arg-type]
    return await answer


async def test_results_and_errors_come_back_on_the_loop() -> None:
    threads, heard = LoopThreads(1, "test"), list[threading.Thread]()
    ended = asyncio.Event()

    def done(where: threading.Thread) -> None:
        heard.extend((where, threading.current_thread()))
        ended.set()

    threads.do(threading.current_thread, done, lambda error: None)
    await ended.wait()
    assert heard[0].name == "test_0"
    assert heard[1] is threading.current_thread()
    try:
        await result_of(threads, lambda: 1 // 0)
    except ZeroDivisionError:
        assert await result_of(threads, lambda: "still there") == "still there"
    else:
        raise AssertionError("the error was lost")
    finally:
        threads.stop()


async def test_one_thread_keeps_the_order_several_work_side_by_side() -> None:
    one, two = LoopThreads(1, "one"), LoopThreads(2, "two")
    order: list[int] = []
    for number in range(20):
        one.do(partial(int, number), order.append, lambda error: None)
    both = threading.Barrier(2)
    await asyncio.gather(result_of(two, both.wait), result_of(two, both.wait))
    assert await result_of(one, lambda: None) is None
    assert order == list(range(20))
    one.stop()
    two.stop()


async def test_stopping_waits_for_the_work_and_ends_the_threads() -> None:
    before = set(threading.enumerate())
    LoopThreads(2, "test").stop()  # nothing was ever asked of it
    threads, done = LoopThreads(2, "test"), list[int]()
    for number in range(10):
        threads.do(partial(done.append, number), lambda _: None, lambda error: None)
    threads.stop()
    assert sorted(done) == list(range(10))
    assert set(threading.enumerate()) == before
    with pytest.raises(LocalError):
        threads.do(lambda: None, lambda _: None, lambda error: None)


async def test_a_coroutine_waits_for_its_result_and_may_go_away() -> None:
    threads, gate = LoopThreads(1, "test"), threading.Event()
    assert await threads.run(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)
    gone = [asyncio.ensure_future(threads.run(work)) for work in (gate.wait, lambda: 1 // 0)]
    await asyncio.sleep(0)
    for task in gone:
        task.cancel()
    await asyncio.gather(*gone, return_exceptions=True)
    gate.set()
    assert await threads.run(lambda: 8) == 8
    threads.stop()
