"""Hears what other processes on the same database take in, and tells them this one's ephemeral events.

A thread of its own holds one connection that listens. A notification says only that there is more:
what it is, is read from the log, behind `Course.position`. So a lost connection, or a server between
that swallows notifications, costs time and no events; the log is also looked at every LOOK_S.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

import psycopg
from psycopg import errors

from meshconsole.core.errors import MeshconsoleError
from meshconsole.relay.postgres.errors import is_lost, translate
from meshconsole.relay.postgres.whispers import Listener, payloads
from meshconsole.relay.store import FeedRow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from meshconsole.relay.postgres.connecting import Connection

log = logging.getLogger(__name__)

LOOK_S = 5.0
LOOK_WITHOUT_LISTEN_S = 0.25
"""Some databases that speak PostgreSQL's protocol know no LISTEN: their log is looked at often."""

RETRY_S = (0.1, 0.5, 1.0, 2.0, 5.0)
PAGE = 500
MAX_WAITING_BYTES = 4 << 20
"""Ephemeral events that wait to be told; beyond it they are dropped."""


LOG_BYTES = 4 << 20
LOG = """
select e.seq, e.id, e.kind, b.raw from (
    select key, seq, id, kind, sum(size) over (order by seq) - size as before from mc_events
    where seq > %s::bigint and (expires is null or expires > %s::bigint) order by seq limit %s::bigint
) e join mc_bodies b on b.key = e.key where e.before < %s::bigint order by e.seq
"""


class Course:
    """How far into the log everything has been delivered here, own events and heard ones alike.

    `lock` is held by whoever moves it, from reading what lies before to having handed it on: so all
    is handed on in the order of the log.
    """

    def __init__(self, position: int) -> None:
        self.lock = threading.Lock()
        self.position = position
        self._heard: Callable[[Sequence[FeedRow]], None] | None = None

    @property
    def is_followed(self) -> bool:
        return self._heard is not None

    def follow(self, heard: Callable[[Sequence[FeedRow]], None] | None) -> None:
        with self.lock:
            self._heard = heard

    def hand_on(self, rows: Sequence[FeedRow], upto: int) -> None:
        """The rows behind the position, and that there are no others up to `upto`. Needs the lock."""
        fresh = [row for row in rows if row.seq > self.position]
        self.position = max(self.position, upto)
        if fresh and self._heard is not None:
            self._heard(fresh)

    def whisper(self, raws: Sequence[bytes]) -> None:
        rows = [FeedRow(0, raw[7:71].decode(), 0, raw) for raw in raws]
        with self.lock:
            if self._heard is not None:
                self._heard(rows)

    def catch_up(self, connection: Connection, now: int) -> None:
        """Reads what others wrote until there is no more. Raises what the library raises."""
        while True:
            with self.lock:
                rows = rows_behind(connection, self.position, now)
                self.hand_on(rows, rows[-1].seq if rows else self.position)
            if not rows:
                return


class Following:
    """`connect` makes the connection that listens; `look` is called with it about every LOOK_S."""

    def __init__(
        self,
        connect: Callable[[], Connection],
        course: Course,
        channel: str,
        look: Callable[[Connection], None],
        now: Callable[[], int],
    ) -> None:
        self._connect = connect
        self._course = course
        self._channel = channel
        self._look = look
        self._now = now
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._listener = Listener()
        self._failures = 0
        """Attempts since it last listened."""
        self._stopping = False
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="relay-follow", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._wake()
        self._thread.join()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def pass_on(self, event_id: str, raw: bytes) -> None:
        with self._lock:
            if self._waiting_bytes + len(raw) > MAX_WAITING_BYTES:
                log.debug("an ephemeral event was not told to the other relay processes: too many wait")
                return
            self._waiting.append((event_id, raw))
            self._waiting_bytes += len(raw)
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # then it is awake already
            os.write(self._wake_write, b"x")

    def _run(self) -> None:
        while not self._stopping:
            try:
                with self._connect() as connection:
                    self._listen(connection)
            except (psycopg.Error, MeshconsoleError) as error:
                ours = error if isinstance(error, MeshconsoleError) else translate(error)
                if not self._failures:
                    log.warning("what other relay processes store is not heard: %s", ours)
                self._forget_waiting()
                self._pause(RETRY_S[min(self._failures, len(RETRY_S) - 1)])
                self._failures += 1

    def _listen(self, connection: Connection) -> None:
        pause = LOOK_S
        told: deque[psycopg.Notify] = deque()
        self._listener = Listener()
        connection.add_notify_handler(told.append)  # for those that come with the answer to a statement
        try:
            connection.execute(f'listen "{self._channel}"'.encode())
            connection.execute(f'listen "{self._channel}_say"'.encode())
        except psycopg.Error as error:
            if is_lost(error, connection) or not isinstance(error, errors.FeatureNotSupported):
                raise
            pause = LOOK_WITHOUT_LISTEN_S
        self._course.catch_up(connection, self._now())
        if self._failures:
            log.warning("what other relay processes store is heard again")
        self._failures = 0
        due = time.monotonic() + LOOK_S
        while not self._stopping:
            if not told:
                if select.select([connection.fileno(), self._wake_read], [], [], pause)[0]:
                    self._tell(connection)
                    _receive(connection, told)
                else:
                    self._course.catch_up(connection, self._now())
            if time.monotonic() >= due:
                self._look(connection)
                due = time.monotonic() + LOOK_S
            self._hear(connection, told)

    def _hear(self, connection: Connection, told: deque[psycopg.Notify]) -> None:
        whispers: list[bytes] = []
        head = 0
        while told:
            notice = told.popleft()
            if notice.channel == self._channel and notice.payload.isdigit():
                head = max(head, int(notice.payload))
            elif notice.channel != self._channel and notice.pid != connection.info.backend_pid:
                raw = self._listener.hear(notice.payload)
                whispers += [raw] if raw is not None else []
        if whispers:
            self._course.whisper(whispers)
        if head > self._course.position:
            self._course.catch_up(connection, self._now())

    def _tell(self, connection: Connection) -> None:
        """What waits, to the others; in one transaction, so that the parts of an event stay together."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)
        with self._lock:
            waiting, self._waiting, self._waiting_bytes = list(self._waiting), deque(), 0
        if not waiting:
            return
        with connection.pipeline(), connection.transaction():
            for event_id, raw in waiting:
                for payload in payloads(event_id, raw):
                    connection.execute("select pg_notify(%s, %s)", (f"{self._channel}_say", payload))

    def _forget_waiting(self) -> None:
        with self._lock:
            self._waiting.clear()
            self._waiting_bytes = 0

    def _pause(self, seconds: float) -> None:
        if select.select([self._wake_read], [], [], seconds)[0]:
            os.read(self._wake_read, 4096)


def _receive(connection: Connection, told: deque[psycopg.Notify]) -> None:
    """What has arrived on the socket. Raises what the library raises when that has ended."""
    connection.pgconn.consume_input()
    while notice := connection.pgconn.notifies():
        told.append(psycopg.Notify(notice.relname.decode(), notice.extra.decode(), notice.be_pid))


def rows_behind(connection: Connection, position: int, now: int, limit: int = PAGE) -> list[FeedRow]:
    """A page of the log. It ends when it holds much, so that only an empty one is the last."""
    parameters = (str(position), str(now), str(limit), str(LOG_BYTES))
    rows = connection.execute(LOG, parameters, binary=True).fetchall()
    return [FeedRow(seq, name.hex(), kind, raw) for seq, name, kind, raw in rows]
