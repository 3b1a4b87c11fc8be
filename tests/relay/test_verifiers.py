"""Processes that check signatures: they say what a check here would say, and cannot be outlived or lost."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pytest

from meshconsole.core.event import event_id
from meshconsole.core.verdict import Verdict
from meshconsole.relay.checking import FORGED, MISLEADING, check
from meshconsole.relay.event import ReadEvent
from meshconsole.relay.verifiers import MANY, MANY_ASKED, REST_S, Verifiers
from tests.relay.making import raw, signed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshconsole.core.event import Event

LIMIT = 100_000


class Question(NamedTuple):
    data: bytes | Event
    claimed: str
    max_bytes: int = LIMIT


@pytest.fixture(scope="module")
def verifiers() -> Iterator[Verifiers]:
    made = Verifiers(1)
    yield made
    made.stop()


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


def test_they_say_what_a_check_here_says(verifiers: Verifiers) -> None:
    asked = questions()
    found = verifiers.check(asked)
    assert found == [check(each) for each in asked]
    assert [type(part) for part in found[:5]] == [ReadEvent, Verdict, Verdict, ReadEvent, ReadEvent]
    assert [found[1], found[2], found[5], found[6]] == [FORGED, MISLEADING, FORGED, FORGED]
    assert verifiers.check([]) == []


def test_large_batches_pass(verifiers: Verifiers) -> None:
    event = signed(content="x" * 5_000)
    asked = [Question(raw(event), event.id), *questions()] * (MANY_ASKED // 4)
    assert verifiers.check(asked) == [check(each) for each in asked[:11]] * (MANY_ASKED // 4)


def test_they_are_small(verifiers: Verifiers) -> None:
    process = verifiers._idle.get()
    verifiers._idle.put(process)
    assert process is not None
    assert isinstance(verifiers.check(questions())[0], ReadEvent)
    status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    held = next(int(line.split()[1]) for line in status if line.startswith("RssAnon:"))
    assert held < 6 * 1024, "kB; it was 3 MB, and 9 with what reads and hashes events"


def test_one_that_dies_is_replaced_and_its_batch_checked_here(caplog: pytest.LogCaptureFixture) -> None:
    verifiers = Verifiers(1)
    process = verifiers._idle.get()
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    verifiers._idle.put(process)
    assert [type(part) for part in verifiers.check(questions())[:2]] == [ReadEvent, Verdict]
    assert "is replaced" in caplog.text
    another = verifiers._idle.get()
    assert another is not None
    assert another.pid != process.pid
    verifiers._idle.put(another)
    assert [type(part) for part in verifiers.check(questions())[:2]] == [ReadEvent, Verdict]
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
    assert verifiers.check(many) == verifiers.check(many)
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
