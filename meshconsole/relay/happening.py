"""What a client's message asks of the shell: an event to judge, a question to open or to close. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from meshconsole.core.verdict import Verdict
    from meshconsole.relay.filter import Filter
    from meshconsole.relay.session import Negotiation, Session, Subscription


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
