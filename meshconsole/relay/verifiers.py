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

from meshconsole.core.verdict import Verdict
from meshconsole.relay import verifier
from meshconsole.relay.checking import FORGED, check, check_form
from meshconsole.relay.event import ReadEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshconsole.relay.checking import Question

log = logging.getLogger(__name__)

ANSWER_S = 30.0
"""A process that takes longer for a batch is taken for broken."""
END_S = 5.0

PIECE = 32
MANY_ASKED = 1024
"""Beyond so many, verdicts are heard before more is asked: both ends would wait for each other otherwise."""

MANY = 64
"""For a batch of so many a process is started."""

REST_S = 5.0
"""One that had nothing to do for so long ends, where they do not last. To start one takes 10 ms."""


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
        if not questions:
            return []
        process = self._idle.get()
        try:
            if process is None and (self._lasting or len(questions) >= MANY):
                process = _started()
            if process is not None and (self._lasting or process.is_ready):
                return process.check(questions)
        except (OSError, EOFError) as error:
            log.warning("a verifying process broke and is replaced: %r", error)
            if process is not None:
                process.end()
            process = _started()
        finally:
            self._idle.put(process)
        return list(map(check, questions))

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
                [
                    sys.executable,
                    "-I",
                    "-S",
                    verifier.__file__,
                    str(theirs.fileno()),
                    *filter(None, sys.path),
                ],
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

    def check(self, questions: Sequence[Question]) -> list[ReadEvent | Verdict]:
        """In pieces: while the process is at one, the next is read."""
        if not self._has_begun:
            verifier.received(self._connection.recv, 1)
            self._has_begun = True
        self.used_at = time.monotonic()
        checked: list[ReadEvent | Verdict] = []
        verdicts = b""
        asked = 0
        for start in range(0, len(questions), PIECE):
            piece = [check_form(question) for question in questions[start : start + PIECE]]
            checked += piece
            records = [_record(read) for read in piece if isinstance(read, ReadEvent)]
            self._connection.sendall(len(records).to_bytes(verifier.COUNT, "big") + b"".join(records))
            asked += len(records)
            if asked - len(verdicts) >= MANY_ASKED:
                verdicts += self._verdicts(asked - len(verdicts))
        verdicts += self._verdicts(asked - len(verdicts))
        said = iter(verdicts)
        return [one if isinstance(one, Verdict) or next(said) else FORGED for one in checked]

    def _verdicts(self, count: int) -> bytes:
        return verifier.received(self._connection.recv, count)

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


def _record(read: ReadEvent) -> bytes:
    return bytes.fromhex(read.event.pubkey + read.event.sig) + read.digest
