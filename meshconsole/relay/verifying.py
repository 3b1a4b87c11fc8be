"""The loop's end of a process that checks signatures (verifier.py): batches go out, verdicts come in.

It is started afresh, not forked, on one end of a socket pair that nobody else has, and ends when this
end is closed, which this process's own end does as well.
"""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from socket import socket, socketpair
from typing import TYPE_CHECKING, NamedTuple

from meshconsole.core.verdict import Verdict
from meshconsole.relay import verifier
from meshconsole.relay.checking import FORGED
from meshconsole.relay.event import ReadEvent

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    Checked = list[ReadEvent | Verdict]

AHEAD = 8
"""So many batches it is given at a time: the loop may be busy with others when one is done."""

ANSWER_S = 30.0
"""One that takes longer for a batch is taken for broken."""

END_S = 5.0
READ_BYTES = 1 << 16


class Batch(NamedTuple):
    read: Sequence[ReadEvent | Verdict]
    """What was refused before goes along."""
    signatures: int
    """Of the others."""
    done: Callable[[Checked | None], None]
    """Called on the loop, with None when the process broke."""


def start() -> tuple[subprocess.Popen[bytes], socket]:
    """Takes milliseconds. Raises OSError when none can be started."""
    ours, theirs = socketpair()
    number = theirs.fileno()
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", verifier.__file__, str(number), *filter(None, sys.path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(number,),
        )
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    ours.setblocking(False)
    return process, ours


class Verifying:
    """`free` is called when it may be given more, `broken` once at most: then it is to be closed."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        connection: socket,
        loop: asyncio.AbstractEventLoop,
        free: Callable[[], None],
        broken: Callable[[Verifying, Exception], None],
    ) -> None:
        self._process = process
        self._connection = connection
        self._loop = loop
        self._free = free
        self._broken = broken
        self._unsent = bytearray()
        self._verdicts = bytearray()
        self._under_way: deque[Batch] = deque()
        self._used_at = loop.time()
        self._late: asyncio.TimerHandle | None = None
        self.is_ready = False
        loop.add_reader(connection, self._readable)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def load(self) -> int:
        """Batches that it has before it."""
        return len(self._under_way)

    @property
    def is_free(self) -> bool:
        """What it was given before has left this process."""
        return self.is_ready and self.load < AHEAD and not self._unsent

    @property
    def idle_s(self) -> float:
        """Since it was given something, or answered."""
        return self._loop.time() - self._used_at

    def ask(self, batch: Batch) -> None:
        """At least one signature."""
        self._under_way.append(batch)
        self._unsent += batch.signatures.to_bytes(verifier.COUNT, "big")
        self._unsent += b"".join([_record(read) for read in batch.read if isinstance(read, ReadEvent)])
        self._expect_answer()
        self._send()

    def close(self) -> list[Batch]:
        """Returns what it was given and has not answered."""
        self.is_ready = False
        if self._late is not None:
            self._late.cancel()
        self._loop.remove_reader(self._connection)
        self._loop.remove_writer(self._connection)
        self._connection.close()
        lost = list(self._under_way)
        self._under_way.clear()
        return lost

    def reap(self) -> None:
        """After `close`; in a thread."""
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _expect_answer(self) -> None:
        self._used_at = self._loop.time()
        if self._late is not None:
            self._late.cancel()
        self._late = self._loop.call_later(ANSWER_S, self._is_late) if self._under_way else None

    def _is_late(self) -> None:
        self._process.kill()
        self._broken(self, TimeoutError(f"no answer within {ANSWER_S:.0f} s"))

    def _send(self) -> None:
        try:
            sent = self._connection.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = len(self._unsent)  # it is gone, which reading tells
        del self._unsent[:sent]
        if self._unsent:
            self._loop.add_writer(self._connection, self._go_on)

    def _go_on(self) -> None:
        self._loop.remove_writer(self._connection)
        self._send()
        self._free()

    def _readable(self) -> None:
        try:
            received = self._connection.recv(READ_BYTES)
            if not received:
                raise EOFError
        except BlockingIOError:
            return
        except (OSError, EOFError) as error:
            self._broken(self, error)
            return
        if not self.is_ready:
            self.is_ready = True
            received = received[1:]
        self._verdicts += received
        answered = []
        while self._under_way and len(self._verdicts) >= self._under_way[0].signatures:
            batch = self._under_way.popleft()
            answered.append((batch, bytes(self._verdicts[: batch.signatures])))
            del self._verdicts[: batch.signatures]
        self._expect_answer()
        self._free()
        for batch, verdicts in answered:
            batch.done(_checked(batch.read, verdicts))


def _record(read: ReadEvent) -> bytes:
    return bytes.fromhex(read.event.pubkey + read.event.sig) + read.digest


def _checked(read: Sequence[ReadEvent | Verdict], verdicts: bytes) -> Checked:
    if len(verdicts) == len(read) and 0 not in verdicts:
        return list(read)
    said = iter(verdicts)
    return [one if isinstance(one, Verdict) or next(said) else FORGED for one in read]
