"""The serving half of the sync machine: streams this node's log to one peer. Pure.

The peer says `Want(after)`; from then on it is sent every row behind `after`, in the order of the log,
first what is there and then what comes. The laws:

1. Before a long backlog the control events (roster, bundles, grants) are offered, whatever their place in
   the log: a removal must arrive before the thousand notes that precede it.
2. Rows that the peer is known to have, or may not have, are left out; `upto` passes over them.
3. Rows made here just now are pushed in full. Rows that came from elsewhere, and what was written while
   the peer was away, are offered by id: in a full mesh another may have brought them, and an offer costs
   36 bytes. Where the peer has lacked nearly all that was offered lately, as at the far end of a line, it
   is offered at once: waiting for others would only cost time.
4. At most WINDOW_BYTES in WINDOW_BATCHES are on their way without an `Ack`; they are held until then,
   so that a `Need` is answered without another read.
5. A new `Want` ends everything before it. What was not acknowledged is sent again: nothing is lost
   with a link, and the peer's store knows what it has.
6. The log is the fast way, comparing (`comparing.py`) the sure one: a long backlog is not read but
   compared, and the cursor jumps to the snapshot's head when all that was lacking has gone before.
   Whatever a cursor may have passed over, a comparison finds again.
7. On a poor link (`is_poor`) nothing is pushed, and a note that goes as datagrams just now (`carried`) waits
   here, as do the rows behind it: mostly the peer says that it has it, before it would be offered.

Happenings are put into `asks` for the shell, messages for the peer into `outbox`. Times are seconds.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import RemoteError
from meshconsole.core.kinds import CONTROL_KINDS
from meshconsole.mesh.asks import ReadControl, ReadIds, ReadRows
from meshconsole.mesh.flights import BATCH_BYTES, WINDOW_BYTES, Flights
from meshconsole.mesh.messages import OFFER, Ack, Batch, Compared, Need, Sync, Want
from meshconsole.mesh.rows import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from meshconsole.mesh.comparing import Comparing, Snapshot
    from meshconsole.mesh.known import KnownIds
    from meshconsole.relay.negentropy import Step

BATCH_ROWS = 1024
READ_ROWS = 128
SHORT_BACKLOG = 256
"""Rows: so many arrive so soon that nothing needs to go before them."""
FEW_ROWS = 16
LACKS_NEARLY_ALL = 0.9
LONG_BACKLOG = 2048
"""Rows: offering so many costs more than comparing the stores."""
OFFER_DELAY_S = 0.05
STALLED_S = 1.0
CARRIED_LOOK_S = 0.25
ADVANCE_DELAY_S = 1.0
"""A batch that only moves the peer's cursor may wait this long for something better to say."""


class Serving(msgspec.Struct):
    log_id: str
    head: int
    """The newest seq of this node's log."""
    known: KnownIds
    may_have: Callable[[int], bool]
    """Whether the peer may be sent events of a kind."""
    comparing: Comparing
    asks: list[ReadControl | ReadRows | ReadIds] = msgspec.field(default_factory=list)
    outbox: list[Sync] = msgspec.field(default_factory=list)
    stream: int | None = None
    sent_events: int = 0
    flights: Flights = msgspec.field(default_factory=Flights)
    is_poor: Callable[[], bool] = lambda: False
    carried: Callable[[bytes], bool] = lambda _event_id: False
    _epoch: int = 0
    """Counts streams on this side: the peer's own number may come again when it restarts."""
    _position: int = 0
    """Rows up to here have been read."""
    _said: int = 0
    """The newest `upto` the peer was told."""
    _pending: deque[Row] = msgspec.field(default_factory=deque)
    _reading: bool = False
    _jumping: bool = False
    """A comparison stands in for the log up to its snapshot's head: the peer's cursor stays meanwhile."""
    _checking: bool = False
    """What a comparison found is not all acknowledged yet."""
    _is_held: bool = False
    _sent_before: int = 0
    _told_behind: int = 0
    _catching_up: bool = False
    _wait_until: float | None = None
    _moved_at: float = 0.0
    """When the window opened last."""

    def want(self, want: Want, now: float) -> None:
        """Raises RemoteError if it wants another log than this."""
        if want.log_id != self.log_id:
            raise RemoteError("wrong-log", "The peer asked for a log that is not this node's.")
        self.stop()
        self._epoch += 1
        self.stream = want.stream
        # A cursor beyond the head was made before this node's database was restored from a backup:
        # from the start, then. What the peer still has it will not need.
        self._position = self._said = want.after if want.after <= self.head else 0
        self._catching_up = True
        self._moved_at = now
        self._jumping = self.head - self._position > LONG_BACKLOG
        if self.head - self._position > SHORT_BACKLOG or (self._position == 0 and self.head):
            self._reading = True
            self.asks.append(ReadControl(self._epoch))
        else:
            self._proceed(now)

    def stop(self) -> None:
        """The link of the stream is gone, or the stream is replaced."""
        self.stream = None
        self._told_behind = 0
        self._pending.clear()
        self.flights.clear()
        self._reading = self._jumping = self._checking = False
        self._wait_until = None
        self.comparing.stop()
        self.outbox.clear()

    def doubt(self, now: float) -> None:
        """The peer may lack what its cursor has passed over."""
        if self.stream is not None:
            self.comparing.soon(now)

    def hold(self, is_held: bool, now: float) -> None:
        """Whether the link is too poor for the log: nothing is sent until it is better."""
        self._is_held = is_held
        self._proceed(now)

    def control(self, epoch: int, rows: Iterable[Row], now: float) -> None:
        """Answers ReadControl. The rows' seq does not matter: they do not move the cursor."""
        if epoch != self._epoch or self.stream is None:
            return
        self._reading = False
        # Their place is the cursor's, so that sending them does not move it.
        self._pending.extend(
            Row(self._position + 1, row.id, row.kind, row.raw) for row in rows if row.kind in CONTROL_KINDS
        )
        self._proceed(now)

    def rows(self, epoch: int, rows: Sequence[Row], now: float) -> None:
        """Answers ReadRows. Nothing behind `after` is an empty answer."""
        if epoch != self._epoch or self.stream is None:
            return
        self._reading = False
        if rows:
            if self._catching_up and self.head - self._position > FEW_ROWS:
                rows = [Row(row.seq, row.id, row.kind, row.raw) for row in rows]
            self._position = rows[-1].seq
            self.head = max(self.head, self._position)
            self._pending.extend(rows)
        else:
            # The log may have lost its last rows; its head is where it ends.
            self.head = self._position
        self._proceed(now)

    def gathered(self, epoch: int, snapshot: Snapshot | None, now: float) -> None:
        """Answers Gather; None if there is too much to be compared."""
        if not self.comparing.gathered(epoch, snapshot):
            self._compared(now)

    def compared(self, answer: Compared, now: float) -> None:
        """Raises RemoteError if the peer breaks the protocol."""
        if not self.comparing.answered(answer):
            self._compared(now)

    def stepped(self, epoch: int, step: Step, now: float) -> None:
        """Answers TakeStep."""
        if epoch != self._epoch or self.stream is None:
            return
        snapshot = self.comparing.stepped(epoch, step)
        if self.comparing.is_busy:
            return
        if snapshot is not None:
            self._checking, self._sent_before = True, self.sent_events
            if self._jumping:
                self._position = max(self._position, snapshot.head)
                self.head = max(self.head, self._position)
        elif self._jumping:
            self._jumping = False
        else:
            # So much is missing behind the cursor that the whole log may as well be offered.
            self._position, self._catching_up = 0, True
        self._proceed(now)

    def found(self, epoch: int, rows: Iterable[Row], now: float) -> None:
        """Answers ReadIds."""
        if epoch != self._epoch or self.stream is None:
            return
        self._reading = False
        self._pending.extend(Row(self._position + 1, row.id, row.kind, row.raw) for row in rows)
        self._proceed(now)

    def _compared(self, now: float) -> None:
        """It was given up: the log says all there is."""
        self._jumping = False
        self.comparing.later(now, was_useful=False)
        self._proceed(now)

    def stored(self, head: int, now: float) -> None:
        """This node's log has grown."""
        self.head = max(self.head, head)
        if self.stream is not None:
            self._proceed(now)

    def ack(self, ack: Ack, now: float) -> None:
        if ack.stream != self.stream:
            return
        self.flights.ack(ack, self.known)
        self._moved_at = now
        self._proceed(now)

    def need(self, need: Need) -> None:
        """Answers from what is held. Raises RemoteError for positions that were not offered."""
        if need.stream != self.stream:
            return
        self.outbox.extend(self.flights.need(need))
        self.sent_events += len(need.positions)

    @property
    def announced(self) -> int:
        """The head as far as it concerns this peer: rows that it is known to have make no lag."""
        is_idle = not self._pending and not self._reading and not self._jumping
        is_even = is_idle and self._position >= self.head
        return self._said if self.stream is not None and is_even else self.head

    def is_backlogged(self, now: float) -> bool:
        """What is stored now will be long in coming: behind a backlog, or a window that does not move."""
        if self.stream is None:
            return False
        return self._catching_up or (not self._has_room() and now - self._moved_at > STALLED_S)

    def next_timer(self) -> float | None:
        timers = [at for at in (self._wait_until, self.comparing.due) if at is not None]
        return min(timers, default=None)

    def handle_timer(self, now: float) -> None:
        due = self.comparing.due
        if due is not None and now >= due and self.stream is not None:
            if self._is_held:
                self.comparing.soon(now)
            elif self.comparing.is_busy:
                self.comparing.give_up()
                self._compared(now)
            else:
                self.comparing.begin(self.stream, self._epoch, now)
        if self._wait_until is not None and now >= self._wait_until:
            self._wait_until = None
            self._send_pending()
            self._proceed(now)

    def _proceed(self, now: float) -> None:
        """Sends and reads as far as the window allows."""
        if self.stream is None:
            return
        if not self.flights:
            self._moved_at = now
        self._drop_unwanted()
        if self._pending and self._has_room():
            if self.carried(self._pending[0].id):
                self._wait(now + CARRIED_LOOK_S)
            elif self._must_hurry():
                self._send_pending()
                self._drop_unwanted()
            else:
                self._wait(now + OFFER_DELAY_S)
        if not self._pending and not self._reading:
            self._read_on(now)

    def _read_on(self, now: float) -> None:
        """Nothing is left to be sent of what was read."""
        comparing = self.comparing
        if comparing.lacking:
            self._reading = True
            count = min(READ_ROWS, len(comparing.lacking))
            self.asks.append(ReadIds(self._epoch, tuple(comparing.lacking.popleft() for _ in range(count))))
            return
        if self._jumping and not self._checking:
            if not comparing.is_busy and self.stream is not None:
                comparing.begin(self.stream, self._epoch, now)
            return
        self._jumping = False
        if self._told_behind:
            self._send([], self._said)
        if self._position < self.head:
            self._reading = True
            self.asks.append(ReadRows(self._epoch, self._position, READ_ROWS))
        elif self._catching_up:
            self._catching_up = False
            self._send([], self._position)
            if not self._checking:
                comparing.soon(now)
        elif self._said < self._position and self._has_room():
            self._wait(now + ADVANCE_DELAY_S)
        if self._checking and not self.flights:
            self._checking = False
            comparing.later(now, was_useful=self.sent_events > self._sent_before)

    def _wait(self, until: float) -> None:
        self._wait_until = until if self._wait_until is None else min(until, self._wait_until)

    def _must_hurry(self) -> bool:
        if self._catching_up or self.flights.lacks >= LACKS_NEARLY_ALL or len(self._pending) >= READ_ROWS:
            return True
        return any(self._pushes(row) for row in self._pending)

    def _pushes(self, row: Row) -> bool:
        return row.push and not self.is_poor()

    def _has_room(self) -> bool:
        return not self._is_held and self.flights.has_room

    def _drop_unwanted(self) -> None:
        while self._pending and not self._is_wanted(self._pending[0]):
            self._pending.popleft()

    def _is_wanted(self, row: Row) -> bool:
        return row.id not in self.known and row.id not in self.flights and self.may_have(row.kind)

    def _send_pending(self) -> None:
        """Batches of the pending rows while there is room."""
        while self._pending and self._has_room() and not self.carried(self._pending[0].id):
            rows: list[Row] = []
            size = held = 0
            while self._pending and len(rows) < BATCH_ROWS and not self.carried(self._pending[0].id):
                row = self._pending[0]
                cost = len(row.raw) if self._pushes(row) else OFFER
                if rows and (size + cost > BATCH_BYTES or self.flights.held_bytes + held > WINDOW_BYTES):
                    break
                self._pending.popleft()
                if self._is_wanted(row):
                    rows.append(row)
                    size += cost
                    held += len(row.raw)
            upto = self._pending[0].seq - 1 if self._pending else self._position
            if rows:
                self._send(rows, self._said if self._jumping else upto)
        if not self._pending and self._said < self._position and self._has_room() and not self._jumping:
            self._send([], self._position)

    def _send(self, rows: list[Row], upto: int) -> None:
        if self.stream is None:
            return
        self._told_behind = len(self.comparing.lacking)
        self._said = max(self._said, upto)
        pushed = [row for row in rows if self._pushes(row)]
        offered = [row for row in rows if not self._pushes(row)]
        self.sent_events += len(pushed)
        self.outbox.append(
            Batch(
                self.stream,
                self.flights.send(rows, pushed, offered),
                self._said,
                self.head,
                tuple(row.raw for row in pushed),
                b"".join(row.id + len(row.raw).to_bytes(4, "big") for row in offered),
                self._told_behind,
            )
        )
