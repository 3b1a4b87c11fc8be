"""The sync machine of one peer: serve this node's log to it, take over its log, follow live. Pure.

The two halves (`serving.py`, `taking.py`) are independent streams, each bound to one link: the taker
chooses the link by saying `Want` on it, and chooses anew when that link goes. So a pair that loses a
link goes on over the other without a common decision, and without losing an event.

A stream follows the log's order and moves the durable cursor. Beside it, `Live` carries what has no
place in the log (ephemeral events) or should not wait for a backlog (fresh ones); the log brings the
latter again, by offer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.kinds import GIFT_WRAP, MEMBERSHIP_KINDS, TEAM_KINDS
from meshconsole.core.precedence import Precedence
from meshconsole.mesh.comparing import Comparing
from meshconsole.mesh.known import KnownIds
from meshconsole.mesh.messages import Ack, Batch, Compare, Compared, Fill, Live, Need, Sync, Want
from meshconsole.mesh.serving import Serving
from meshconsole.mesh.taking import Taking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random

    from meshconsole.mesh.asked import Asked
    from meshconsole.mesh.asks import Ask
    from meshconsole.mesh.rows import Row

LIVED = 256
SEALED_ROLE = "relay"
CIPHERTEXT_KINDS = TEAM_KINDS | {GIFT_WRAP}
"""All that a device of role "relay" is sent: a captured one must yield ciphertext."""


class PeerSync(msgspec.Struct):
    """Both halves. The shell moves what is in the outboxes and answers what is in the asks."""

    serving: Serving
    taking: Taking
    known: KnownIds
    live_outbox: list[tuple[Precedence, Live]]
    lived: KnownIds = msgspec.field(default_factory=lambda: KnownIds(LIVED))
    """What was sent beside the log lately."""

    @classmethod
    def make(
        cls,
        log_id: str,
        head: int,
        settled: KnownIds,
        asked: Asked,
        role: Callable[[], str],
        random: Random,
    ) -> PeerSync:
        """`role` is the peer's, now."""
        known = KnownIds()

        def may_have(kind: int) -> bool:
            return kinds_for(role())(kind)

        comparing = Comparing(random, lambda: role() == SEALED_ROLE)
        serving = Serving(log_id, head, known, may_have, comparing)
        return cls(serving, Taking(known, settled, asked), known, [])

    def receive(self, message: Sync, now: float) -> None:
        """Raises RemoteError if the peer breaks the protocol."""
        match message:
            case Want():
                self.serving.want(message, now)
            case Need():
                self.serving.need(message)
            case Ack():
                self.serving.ack(message, now)
            case Batch():
                self.taking.batch(message, now)
            case Fill():
                self.taking.fill(message, now)
            case Live():
                self.taking.live(message)
            case Compare():
                self.taking.compare(message)
            case Compared():
                self.serving.compared(message, now)

    def send_live(self, events: Iterable[Row]) -> None:
        """Ephemeral events, urgent ones, and fresh ones while a backlog is being sent. Droppable by the
        shell.

        A fresh event that is sent here is not counted as known to the peer: if its store refuses it for
        now, only the log brings it again.
        """
        for row in events:
            if row.id not in self.known and self.serving.may_have(row.kind):
                # Fresh events go before the log, whatever they are.
                precedence = min(row.precedence, Precedence.PRIORITY)
                self.live_outbox.append((precedence, Live((row.raw,))))
                self.lived.add(row.id)

    def stored(self, head: int, now: float, event_id: bytes = b"") -> None:
        """This node's log has grown, by that event."""
        self.taking.settled_elsewhere(event_id, now)
        self.serving.stored(head, now)

    def forget_lived(self) -> None:
        """A link is gone, and with it perhaps what was sent over it."""
        self.lived = KnownIds(LIVED)

    def is_on_the_way(self, event_id: bytes) -> bool:
        """Whether all of the event was sent over a link just now."""
        return event_id in self.serving.flights.pushed or event_id in self.lived

    def take_asks(self) -> list[Ask]:
        comparing = self.serving.comparing
        asks: list[Ask] = [*self.serving.asks, *comparing.asks, *self.taking.asks]
        self.serving.asks.clear()
        comparing.asks.clear()
        self.taking.asks.clear()
        return asks

    def take_served(self) -> list[Sync]:
        """What the serving half wants sent, in order."""
        messages: list[Sync] = [*self.serving.outbox, *self.serving.comparing.outbox]
        self.serving.outbox.clear()
        self.serving.comparing.outbox.clear()
        return messages

    def next_timer(self) -> float | None:
        timers = [t for t in (self.serving.next_timer(), self.taking.next_timer()) if t is not None]
        return min(timers, default=None)

    def handle_timer(self, now: float) -> None:
        self.serving.handle_timer(now)
        self.taking.handle_timer(now)


def kinds_for(role: str) -> Callable[[int], bool]:
    """Which kinds a device of that role is sent."""
    if role == SEALED_ROLE:
        return CIPHERTEXT_KINDS.__contains__
    return lambda kind: kind not in MEMBERSHIP_KINDS
