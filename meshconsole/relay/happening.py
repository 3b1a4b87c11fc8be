"""What a session tells its shell: events offered, questions opened and closed. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from meshconsole.core.verdict import Verdict
    from meshconsole.relay.filter import Filter
    from meshconsole.relay.negentropy import Responder
    from meshconsole.relay.session import Session


@dataclass(slots=True, eq=False)
class Subscription:
    """One open REQ. `snapshot` is the store's head when the stored part was read, -1 before.

    `since` is the newest event that was passed on before it was registered for live events. Those from
    there up to the snapshot may come by both ways or, where a limit cut the stored part, by the live one
    alone: `sent` holds the ids of stored events that were given, as long as any of them may yet come.
    """

    session: Session
    id: str
    filters: tuple[Filter, ...]
    prefix: bytes
    snapshot: int = -1
    since: int = 0
    sent: set[bytes] | None = None
    reading: bool = True
    closed: bool = False
    waiting: list[tuple[int, bytes]] = field(default_factory=list)
    waiting_bytes: int = 0


@dataclass(slots=True, eq=False)
class Negotiation:
    """One open NEG-OPEN. `responder` is there once the events were read: the snapshot it speaks of."""

    session: Session
    id: str
    wanted: Filter
    heard_at: float
    """Monotonic seconds."""
    busy: bool = True
    """A message of the client is being answered."""
    closed: bool = False
    responder: Responder | None = None


class Offered(NamedTuple):
    """The client sent an event: unparsed bytes, and the id that they claim ("" if none is seen)."""

    data: bytes
    claimed: str


class TurnedAway(NamedTuple):
    """An event was refused before it was read: by a limit or a gate."""

    claimed: str
    size: int
    verdict: Verdict


class Opened(NamedTuple):
    subscription: Subscription


class Closed(NamedTuple):
    subscription: Subscription


class Widened(NamedTuple):
    """Its filters let more through than before."""

    subscription: Subscription


class Negotiated(NamedTuple):
    """A message of a negotiation, its first one if it has no responder yet."""

    negotiation: Negotiation
    message: bytes


class Counting(NamedTuple):
    """A COUNT waits for `Session.counted` or `Session.uncounted`."""

    session: Session
    id: str
    filters: tuple[Filter, ...]


Happening = Offered | TurnedAway | Opened | Closed | Widened | Negotiated | Counting
