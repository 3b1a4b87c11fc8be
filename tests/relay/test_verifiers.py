"""Processes that check signatures: they say what a check here would say, and cannot be outlived or lost."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from meshconsole.core.event import event_id
from meshconsole.core.verdict import Verdict
from meshconsole.relay import verifiers as verifiers_module
from meshconsole.relay import verifying
from meshconsole.relay.checking import FORGED, MISLEADING, check, check_form
from meshconsole.relay.event import ReadEvent
from meshconsole.relay.threads import LoopThreads
from meshconsole.relay.verifiers import MANY, Verifiers
from tests.relay.making import raw, signed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import pytest

    from meshconsole.core.event import Event
    from meshconsole.relay.verifying import Checked

LIMIT = 100_000
PATIENCE_S = 20


class Question(NamedTuple):
    data: bytes | Event
    claimed: str
    max_bytes: int = LIMIT


@asynccontextmanager
async def verifiers(count: int = 1, *, lasting: bool = True) -> AsyncIterator[Verifiers]:
    threads = LoopThreads(1, "test")
    made = Verifiers(count, threads, lasting=lasting)
    try:
        yield made
    finally:
        made.close()
        await asyncio.to_thread(threads.stop)
        await asyncio.to_thread(made.reap)


async def until_ready(made: Verifiers, count: int = 1) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while sum(process.is_ready for process in made.processes) < count:  # noqa: ASYNC110 - nobody else asks
            await asyncio.sleep(0.005)


def ask(made: Verifiers, questions: Sequence[Question]) -> asyncio.Future[Checked | None]:
    answer: asyncio.Future[Checked | None] = asyncio.get_running_loop().create_future()
    assert made.check([check_form(question) for question in questions], answer.set_result)
    return answer


def is_taken(made: Verifiers, questions: Sequence[Question]) -> bool:
    return made.check([check_form(question) for question in questions], lambda _: None)


def questions() -> list[Question]:
    event, other = signed(content="é 😀 \x7f"), signed(content="other")
    forged = msgspec.structs.replace(event, sig=other.sig)
    empty = msgspec.structs.replace(event, sig="0" * 128)
    nobody = event_id("f" * 64, event.created_at, 1, (), "").hex()  # x of no point on the curve
    no_key = msgspec.structs.replace(event, id=nobody, pubkey="f" * 64, tags=(), content="")
    return [
        Question(raw(event), event.id),
        Question(raw(forged), event.id),
        Question(raw(other), event.id),
        Question(raw(event).replace(b",", b" , "), ""),
        Question(other, other.id),
        Question(raw(empty), event.id),
        Question(raw(no_key), no_key.id),
        Question(raw(event), event.id, 100),
        Question(b"{}", ""),
        Question(b"\xff", ""),
    ]


async def test_they_say_what_a_check_here_says() -> None:
    asked = questions()
    async with verifiers() as made:
        await until_ready(made)
        found = await ask(made, asked)
        assert await ask(made, []) == []
        refused = asked[-2:]
        assert await ask(made, refused) == [check(each) for each in refused]
    assert found == [check(each) for each in asked]
    assert [type(part) for part in found[:5]] == [ReadEvent, Verdict, Verdict, ReadEvent, ReadEvent]
    assert [found[1], found[2], found[5], found[6]] == [FORGED, MISLEADING, FORGED, FORGED]


async def test_many_and_large_batches_are_answered_each_with_its_own() -> None:
    few = questions()
    batches = [few[number % 3 : number % 3 + 5] * 300 for number in range(9)]
    async with verifiers(2) as made:
        await until_ready(made, 2)
        answers = [ask(made, batch) for batch in batches]
        assert all(process.load for process in made.processes), "both are given something at once"
        assert made._waiting, "not more than the system holds for them"
        for number, found in enumerate(await asyncio.gather(*answers)):
            assert found == [check(each) for each in few[number % 3 : number % 3 + 5]] * 300


async def test_a_process_is_given_the_next_batches_while_it_works() -> None:
    async with verifiers() as made:
        await until_ready(made)
        asked = questions()
        answers = [ask(made, asked) for _ in range(verifying.AHEAD + 2)]
        assert made.processes[0].load == verifying.AHEAD
        assert await asyncio.gather(*answers) == [[check(each) for each in asked]] * len(answers)
        assert made.processes[0].load == 0


def anonymous_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("RssAnon:"))


async def test_they_are_small() -> None:
    async with verifiers() as made:
        await until_ready(made)
        await ask(made, questions())
        held = anonymous_kb(made.processes[0].pid)
    assert held < 6 * 1024, "kB; it was 3 MB, and 9 with what reads and hashes events"


async def test_what_one_that_dies_was_given_comes_back_and_it_is_replaced(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with verifiers() as made:
        await until_ready(made)
        first = made.processes[0].pid
        os.kill(first, signal.SIGSTOP)
        answers = [ask(made, questions()) for _ in range(verifying.AHEAD + 2)]
        os.kill(first, signal.SIGKILL)
        assert await asyncio.gather(*answers) == [None] * len(answers), "to be checked here, none lost"
        assert "checked without it" in caplog.text
        assert not made.processes, "one that cannot start is not started again and again"
        assert not is_taken(made, questions())
        await until_ready(made)
        assert made.processes[0].pid != first
        assert len(await ask(made, questions()) or ()) == len(questions())


async def test_one_that_does_not_answer_in_time_is_replaced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with verifiers() as made:
        await until_ready(made)
        os.kill(made.processes[0].pid, signal.SIGSTOP)
        monkeypatch.setattr(verifying, "ANSWER_S", 0.01)
        assert await ask(made, questions()) is None
        assert "no answer" in caplog.text


async def test_without_processes_the_check_is_made_here(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse_to_start(*_: object, **__: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(subprocess, "Popen", refuse_to_start)
    async with verifiers() as made:
        assert not is_taken(made, questions())
    await asyncio.sleep(0)
    assert "could be started" in caplog.text


async def test_one_that_does_not_last_comes_with_much_and_goes_with_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few, many = questions(), questions() * MANY
    async with verifiers(lasting=False) as made:
        assert not is_taken(made, few)
        assert not made.rest(), "it is not started for few"
        assert not is_taken(made, many), "nothing waits for it"
        await until_ready(made)
        assert await ask(made, few) == [check(each) for each in few], (
            "it is given what comes while it is there"
        )
        assert made.rest()
        assert made.processes
        monkeypatch.setattr(verifiers_module, "REST_S", 0.0)
        answer = ask(made, few)
        assert made.rest(), "one that is at work does not rest"
        await answer
        assert not made.rest()
        assert not made.processes


async def test_one_that_is_still_starting_when_they_are_closed_ends_too() -> None:
    async with verifiers() as made:
        pass
    assert not made.processes
    assert not made._ended, "and is waited for"


PARENT = """
import time
from meshconsole.relay.verifying import start
process, connection = start()
print(process.pid, flush=True)
time.sleep(60)
"""


def test_they_end_with_their_parent_however_it_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        try:
            parent.kill()
            poll = select.poll()
            poll.register(child, select.POLLIN)
            assert poll.poll(10_000), "the process outlived its parent"
        finally:
            os.close(child)
