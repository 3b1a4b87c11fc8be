"""Processes that check signatures: they say what a check here would say, and cannot be outlived or lost."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from meshconsole.core.verdict import Verdict
from meshconsole.relay.checking import FORGED, MISLEADING, check
from meshconsole.relay.event import ReadEvent
from meshconsole.relay.verifier import Question
from meshconsole.relay.verifiers import MANY, REST_S, Verifiers
from tests.relay.making import raw, signed

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 100_000


@pytest.fixture(scope="module")
def verifiers() -> Iterator[Verifiers]:
    made = Verifiers(1)
    yield made
    made.stop()


def questions() -> list[Question]:
    event, other = signed(content="é 😀 \x7f"), signed(content="other")
    forged = msgspec.structs.replace(event, sig=other.sig)
    return [
        Question(raw(event), event.id, LIMIT),
        Question(raw(forged), event.id, LIMIT),
        Question(raw(other), event.id, LIMIT),
        Question(raw(event).replace(b",", b" , "), "", LIMIT),
        Question(raw(event), event.id, 100),
        Question(b"{}", "", LIMIT),
        Question(b"\xff", "", LIMIT),
    ]


def test_they_say_what_a_check_here_says(verifiers: Verifiers) -> None:
    asked = questions()
    found = verifiers.check(asked)
    here = [check(each.data, each.claimed, each.max_bytes) for each in asked]
    assert [part[:2] if isinstance(part, ReadEvent) else part for part in found] == [
        part[:2] if isinstance(part, ReadEvent) else part for part in here
    ]
    assert [type(part) for part in found[:4]] == [ReadEvent, Verdict, Verdict, ReadEvent]
    assert found[1:3] == [FORGED, MISLEADING]


def test_large_batches_pass(verifiers: Verifiers) -> None:
    event = signed(content="x" * 50_000)
    found = verifiers.check([Question(raw(event), event.id, LIMIT)] * 60)
    assert all(isinstance(part, ReadEvent) and part.raw == raw(event) for part in found)


def test_one_that_dies_is_replaced_and_its_batch_checked_here(caplog: pytest.LogCaptureFixture) -> None:
    verifiers = Verifiers(1)
    process = verifiers._idle.get()
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    verifiers._idle.put(process)
    asked = questions()
    assert [type(part) for part in verifiers.check(asked)[:2]] == [ReadEvent, Verdict]
    assert "is replaced" in caplog.text
    another = verifiers._idle.get()
    assert another is not None
    assert another.pid != process.pid
    verifiers._idle.put(another)
    assert [type(part) for part in verifiers.check(asked)[:2]] == [ReadEvent, Verdict]
    verifiers.stop()


def test_without_processes_the_check_is_made_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_to_start(*_: object, **__: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(subprocess, "Popen", refuse_to_start)
    verifiers = Verifiers(1)
    assert [type(part) for part in verifiers.check(questions())[:2]] == [ReadEvent, Verdict]
    verifiers.stop()


def test_one_that_does_not_last_comes_with_much_and_goes_with_nothing() -> None:
    verifiers = Verifiers(1, lasting=False)

    def process() -> object:
        found = verifiers._idle.get()
        verifiers._idle.put(found)
        return found

    few, many = questions(), questions() * MANY
    assert len(verifiers.check(few)) == len(few)
    assert process() is None
    found = verifiers.check(many)
    assert [type(part) for part in found] == [type(part) for part in verifiers.check(many)]
    started = verifiers._idle.get()
    assert started is not None
    poll = select.poll()
    poll.register(started._connection, select.POLLIN)
    assert started._has_begun or poll.poll(10_000), "it never got ready"
    verifiers._idle.put(started)
    assert len(verifiers.check(few)) == len(few)
    assert started._has_begun, "whatever comes is given to it while it is there"
    assert verifiers.rest(started.used_at + REST_S - 1)
    assert process() is started
    assert not verifiers.rest(started.used_at + REST_S)
    assert process() is None
    verifiers.stop()


PARENT = """
import sys, time
from meshconsole.relay.verifiers import Verifiers
verifiers = Verifiers(1)
process = verifiers._idle.get()
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
