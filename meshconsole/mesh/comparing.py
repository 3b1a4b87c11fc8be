"""Comparing the whole of two stores over a link: negentropy (NIP-77) inside the sync machine. Pure.

The serving half compares what it may send with what the peer holds, and so learns exactly what the peer
lacks (`lacking`). The laws:

1. A comparison is over a snapshot: what this store held at a known head of its log, perhaps more. What
   comes later the log brings. A snapshot may therefore be old, and many peers share one.
2. It decides nothing by itself: what the peer lacks is offered like any other row, and the peer's store
   knows what it has refused for good.
3. It is given up, and the log read instead, where the peer cannot or where more than MAX_LACKING events
   are missing: their bodies outweigh any offer. A peer that never comes to an end breaks the protocol.
4. One happens when a stream begins, one after every doubt, and one from time to time. Where a comparison
   only finds what the peer does not want, the next one comes later.

Asks for the shell are in `asks`, messages for the peer in `outbox`. Times are seconds.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import RemoteError
from meshconsole.mesh.asks import Gather, TakeStep
from meshconsole.mesh.messages import Compare, Compared
from meshconsole.relay.negentropy import Initiator

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from meshconsole.relay.items import ItemVector
    from meshconsole.relay.negentropy import Step

MAX_LACKING = 20_000
MAX_ROUNDS = 512
FIRST_S = 2.0
"""After a stream has caught up; the log brings most of what there is."""
GIVE_UP_S = 120.0
EVERY_S = 600.0
LONGEST_S = 6 * 3600.0
_JITTER = 0.25


class Snapshot(msgspec.Struct, frozen=True):
    """At least what the store held when its log ended at `head`; `urgent` are deletions, which go first."""

    head: int
    items: ItemVector
    urgent: frozenset[bytes]


class Comparing(msgspec.Struct):
    random: Random
    sealed: Callable[[], bool]
    """Whether the peer is sent sealed kinds only."""
    asks: list[Gather | TakeStep] = msgspec.field(default_factory=list)
    outbox: list[Compare] = msgspec.field(default_factory=list)
    lacking: deque[bytes] = msgspec.field(default_factory=deque)
    """What the peer is known to lack and has not been offered yet."""
    due: float | None = None
    """When to begin, or, while one is under way, when to give it up."""
    done: int = 0
    """Comparisons that came to an end."""
    _stream: int = 0
    _epoch: int = 0
    _number: int = 0
    _rounds: int = 0
    _sealed: bool = False
    _snapshot: Snapshot | None = None
    _initiator: Initiator | None = None
    _waiting: bool = False
    """For the peer's answer."""
    _busy: bool = False
    _again: bool = False
    """Doubt came while one was under way."""
    _found: list[bytes] = msgspec.field(default_factory=list)
    _every: float = EVERY_S

    @property
    def is_busy(self) -> bool:
        return self._busy

    def begin(self, stream: int, epoch: int, now: float) -> None:
        self._stream, self._epoch = stream, epoch
        self._busy, self._rounds, self._again = True, 0, False
        self.due = now + GIVE_UP_S
        self._sealed = self.sealed()
        self.asks.append(Gather(epoch, self._sealed))

    def stop(self) -> None:
        """The stream has ended. The next one compares anew."""
        self._end()
        self.lacking.clear()
        self.asks.clear()
        self.outbox.clear()
        self.due = None

    def soon(self, now: float) -> None:
        """There is doubt, or a stream has begun: compares shortly."""
        self._every = EVERY_S
        if self._busy or self.lacking:
            self._again = True
        else:
            self._at(now, FIRST_S)

    def give_up(self) -> None:
        """The peer is silent."""
        self._say(b"")
        self._end()

    def later(self, now: float, *, was_useful: bool) -> None:
        """A comparison is over and what it found was dealt with."""
        self._every = EVERY_S if was_useful else min(LONGEST_S, 2 * self._every)
        self._at(now, FIRST_S if self._again else self._every)
        self._again = False

    def gathered(self, epoch: int, snapshot: Snapshot | None) -> bool:
        """None if it cannot be made here. Returns False when the comparison is given up."""
        if epoch != self._epoch or not self._busy:
            return True
        if snapshot is None:
            self._end()
            return False
        self._snapshot = snapshot
        self._initiator = Initiator(snapshot.items)
        self._number += 1
        self._say(self._initiator.begin())
        return True

    def answered(self, answer: Compared) -> bool:
        """Returns False when the peer cannot. Raises RemoteError for an answer to nothing."""
        if answer.stream != self._stream or answer.number != self._number or self._initiator is None:
            return True
        if not self._waiting:
            raise RemoteError("bad-compare", "The peer answered a comparison twice.")
        self._waiting = False
        if not answer.data:
            self._end()
            return False
        self._rounds += 1
        if self._rounds > MAX_ROUNDS:
            raise RemoteError("bad-compare", "The peer draws a comparison out without end.")
        self.asks.append(TakeStep(self._epoch, self._initiator, answer.data))
        return True

    def stepped(self, epoch: int, step: Step) -> Snapshot | None:
        """Returns the snapshot when all is known: `lacking` is what the peer lacks of it."""
        snapshot = self._snapshot
        if epoch != self._epoch or snapshot is None:
            return None
        self._found += step.have
        if len(self._found) > MAX_LACKING:
            self._say(b"")
            self._end()
            return None
        if step.reply is not None:
            self._say(step.reply)
            return None
        self._say(b"")
        self.lacking.extend(sorted(self._found, key=lambda found: found not in snapshot.urgent))
        self.done += 1
        self._end()
        return snapshot

    def _say(self, data: bytes) -> None:
        self.outbox.append(Compare(self._stream, self._number, self._sealed, data))
        self._waiting = bool(data)

    def _end(self) -> None:
        self._busy = self._waiting = False
        self._snapshot = self._initiator = None
        self._found = []
        self.due = None

    def _at(self, now: float, delay: float) -> None:
        self.due = now + delay * (1 + _JITTER * (2 * self.random.random() - 1))
