"""Signatures checked in processes of their own.

Threads share the interpreter's lock with the loop and the writer; processes do not: with one, a node
takes in a third more events, at less of the processor's time for each. They are started afresh, not
forked, on one end of a socket pair that nobody else has, and end when this process does. One that breaks
is replaced, and its batch checked here: an event is never lost with it.
"""

from __future__ import annotations

import logging
import select
import socket
import subprocess
import sys
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.event import decode_event
from meshconsole.relay.checking import check
from meshconsole.relay.event import ReadEvent
from meshconsole.relay.verifier import Genuine, Question, encode, read_answers, receive, send

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshconsole.core.verdict import Verdict
    from meshconsole.relay.verifier import Answer

log = logging.getLogger(__name__)

ANSWER_S = 30.0
"""A process that takes longer for a batch is taken for broken."""
END_S = 5.0


MANY = 64
"""For a batch of so many a process is started."""

REST_S = 30.0
"""One that had nothing to do for so long ends, where they do not last."""


class Verifiers:
    """`count` processes. `check` is called by as many threads, and blocks them. Those that last are started
    at once; others when much comes, and nothing waits until they are ready."""

    def __init__(self, count: int, *, lasting: bool = True) -> None:
        self._idle: SimpleQueue[_Process | None] = SimpleQueue()
        self._count = count
        self._lasting = lasting
        for _ in range(count):
            self._idle.put(_started() if lasting else None)

    def check(self, questions: Sequence[Question]) -> list[ReadEvent | Verdict]:
        process = self._idle.get()
        try:
            if process is None and (self._lasting or len(questions) >= MANY):
                process = _started()
            if process is not None and (self._lasting or process.is_ready):
                return [_read(*pair) for pair in zip(questions, process.ask(questions), strict=True)]
        except (OSError, EOFError, ValueError, msgspec.MsgspecError) as error:
            log.warning("a verifying process broke and is replaced: %r", error)
            if process is not None:
                process.end()
            process = _started()
        finally:
            self._idle.put(process)
        return [check(question.data, question.claimed, question.max_bytes) for question in questions]

    def rest(self, now: float) -> bool:
        """Ends those that had nothing to do for REST_S. Whether any is left that may; `now` is monotonic."""
        if self._lasting:
            return False
        left = False
        for _ in range(self._count):
            process = self._idle.get()
            if process is not None and now - process.used_at >= REST_S:
                process.end()
                process = None
            left = left or process is not None
            self._idle.put(process)
        return left

    def stop(self) -> None:
        """When no `check` is under way."""
        for _ in range(self._count):
            process = self._idle.get()
            if process is not None:
                process.end()


class _Process:
    def __init__(self) -> None:
        self._connection, theirs = socket.socketpair()
        self._connection.settimeout(ANSWER_S)
        self._has_begun = False
        self.used_at = time.monotonic()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "meshconsole.relay.verifier", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        except OSError:
            self._connection.close()
            raise
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_ready(self) -> bool:
        """It can answer, or is gone, which asking it will tell."""
        if self._has_begun:
            return True
        poll = select.poll()  # select() knows no more than 1,024 descriptors
        poll.register(self._connection, select.POLLIN)
        return bool(poll.poll(0))

    def ask(self, questions: Sequence[Question]) -> list[Answer]:
        if not self._has_begun:
            receive(self._connection)
            self._has_begun = True
        self.used_at = time.monotonic()
        send(self._connection, encode(questions))
        return read_answers(receive(self._connection))

    def end(self) -> None:
        self._connection.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _started() -> _Process | None:
    """None when none can be started: then events are checked here."""
    try:
        return _Process()
    except OSError as error:
        log.warning("no verifying process could be started: %s", error)
        return None


def _read(question: Question, answer: Answer) -> ReadEvent | Verdict:
    if not isinstance(answer, Genuine):
        return answer.verdict
    raw = answer.raw or question.data
    return ReadEvent(decode_event(raw), raw, b"")
