"""One client's session, sans I/O: what it has open, what it is owed, what is said to it. Pure.

Laws:
- Every EVENT whose id can be read gets exactly one OK; every REQ gets EOSE or CLOSED, once.
- A subscription is registered for live events before its stored part is read. While that is under
  way live events wait; when it ends, those that were among the stored ones are dropped and the others
  follow. So none is lost, not even one that a limit kept from the stored part, and none comes twice.
- Nothing is sent for a subscription after it was closed or replaced.

The shell gives what the client says to `verbs.receive`, carries out what that returns, calls `answer`,
`deliver`, `stored`, `finish` and `fail` as results come in, and writes what `outbox` gives whenever `wake`
was called.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshconsole.core.errors import Refused
from meshconsole.core.limits import TokenBucket
from meshconsole.core.verdict import Verdict, refuse
from meshconsole.relay import messages
from meshconsole.relay.frames import Batch, one_by_one
from meshconsole.relay.policy import judge_filters, narrowed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from meshconsole.core.sections import RelaySection
    from meshconsole.relay.filter import Filter
    from meshconsole.relay.negentropy import Responder
    from meshconsole.relay.policy import Client

MAX_WAITING_BYTES = 1 << 20
"""Live events held back while the stored part of a subscription is being sent."""

MAX_UNSENT_BYTES = 1 << 20
"""Live events that a slow client may owe; beyond it the subscription ends, never silently."""

BATCH_BYTES = 64 * 1024
"""Stored events are sent in batches of about this size."""

ID = slice(7, 71)
"""Where canonical events have their id."""

QUESTION_BYTES = 131_072
"""A question may be so long however small events must be: a filter with 1,900 keys, or a reconciliation in
frames of 60 kB."""

BURST_S = 4
"""How many seconds' worth of the allowed rate may come at once."""


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


WORK = 0.25
WORK_S = 2.0
"""Counts and negotiations have a thread each, for all clients. One client may have this part of its time in
the long run, and so many seconds at once; what it asks beyond that waits (`pacing.py`)."""


class Session:
    """`challenge` is fresh and unguessable; `wake` is called when the outbox stops being empty.

    `is_own_url` says whether a relay URL in a login means this relay. `refusals` counts by verb and code;
    `count` hears of everything that is refused here. Events count where they end (`outcomes.py`).
    """

    def __init__(
        self,
        client: Client,
        config: RelaySection,
        challenge: str,
        wake: Callable[[], None],
        is_own_url: Callable[[str], bool],
        refusals: Counter[tuple[str, str]] | None = None,
        count: Callable[[Verdict], None] = lambda _verdict: None,
    ) -> None:
        self.client = client
        self.config = config
        self.is_own_url = is_own_url
        self.subscriptions: dict[str, Subscription] = {}
        self.refusals = Counter() if refusals is None else refusals
        self._count = count
        self.negotiations: dict[str, Negotiation] = {}
        self.offered = 0
        self.offered_bytes = 0
        """Events that wait for their OK."""
        self.counting = 0
        """Counts under way."""
        self.events = TokenBucket(0, 0)
        self.requests = TokenBucket(0, 0)
        self.work = TokenBucket(0, 0)
        """Seconds of a thread that its counts and negotiations may take."""
        self._challenge = challenge
        self._challenged = False
        self._wake = wake
        self.ended = False
        """The connection is gone."""
        self._out: list[bytes | Batch] = []
        self._out_bytes = 0
        self.apply(config)
        if not client.trusted and (client.guest is not None or not client.house.access.public()):
            self._challenge_once()

    def apply(self, config: RelaySection) -> None:
        """New limits, from now on."""
        self.config = config
        rate = config.events_per_second if config.rate_limits else 0
        self.events.set_rate(rate, rate * BURST_S)
        self.requests.set_rate(rate, rate * BURST_S)
        self.work.set_rate(WORK if config.rate_limits else 0, WORK_S)

    def recheck(self) -> list[Subscription]:
        """What is open is judged and narrowed by the rules of now. Returns what was ended, or is shown more
        or less than before."""
        changed: list[Subscription] = []
        for subscription in list(self.subscriptions.values()):
            verdict = judge_filters(subscription.filters, self.client)
            filters = tuple(narrowed(wanted, self.client) for wanted in subscription.filters)
            if not verdict.accepted:
                self.fail(subscription, verdict)
            elif filters == subscription.filters:
                continue
            subscription.filters = filters
            changed.append(subscription)
        for negotiation in list(self.negotiations.values()):
            if narrowed(negotiation.wanted, self.client) != negotiation.wanted:
                self.fail_negotiation(negotiation, Refused("closed", "what you may see here has changed"))
        return changed

    @property
    def reading(self) -> int:
        """Stored parts of subscriptions, counts and negotiations that wait for the store."""
        if not self.subscriptions and not self.negotiations:
            return self.counting  # who only publishes is asked for it with each event
        subscriptions = sum(subscription.reading for subscription in self.subscriptions.values())
        negotiations = sum(negotiation.busy for negotiation in self.negotiations.values())
        return subscriptions + negotiations + self.counting

    @property
    def challenge(self) -> str:
        """What this connection was sent, "" if nothing yet."""
        return self._challenge if self._challenged else ""

    # --- What the shell reports ----------------------------------------------------------------------

    def answer(self, event_id: str | None, size: int, verdict: Verdict) -> None:
        """The OK for `size` bytes that were Offered; a NOTICE when not even an id can be read."""
        self.offered -= 1
        self.offered_bytes -= size
        self.say(event_id, verdict)

    def deliver(self, subscription: Subscription, seq: int, raw: bytes) -> None:
        """A live event. `seq` is its place in the store, 0 if it is not stored."""
        self.deliver_message(subscription, seq, subscription.prefix + raw + b"]")

    def deliver_message(self, subscription: Subscription, seq: int, message: bytes) -> None:
        """A live event in its EVENT message, which all subscriptions with the same id may share."""
        if subscription.closed:
            return
        if subscription.reading:
            subscription.waiting.append((seq, message))
            subscription.waiting_bytes += len(message)
            if subscription.waiting_bytes > MAX_WAITING_BYTES:
                self.fail(subscription, refuse("error", "too slow: live events outran the stored ones"))
            return
        if seq > subscription.snapshot:
            subscription.sent = None
        elif seq != 0 and _was_sent(subscription, message):
            return
        if self._out_bytes > MAX_UNSENT_BYTES:
            self.fail(subscription, refuse("error", "too slow: events came faster than you read them"))
            return
        if not self._out:
            self._wake()
        self._out.append(message)
        self._out_bytes += len(message)

    def stored(self, subscription: Subscription, raws: Sequence[bytes]) -> None:
        """Part of the stored events."""
        if not subscription.closed and raws:
            if subscription.sent is not None:
                subscription.sent.update(raw[ID] for raw in raws)
            for batch in Batch(subscription.prefix, raws).parts(BATCH_BYTES):
                self.send(batch)

    def finish(
        self, subscription: Subscription, snapshot: int, *, complete: bool | None = None, settled: bool = True
    ) -> None:
        """The stored part is over; `snapshot` is the store's head at the time of reading. `complete`
        says whether all that matches was given (NIP-67), None if that is not known. `settled` says that
        all up to the snapshot was passed on live."""
        if subscription.closed:
            return
        subscription.reading, subscription.snapshot = False, snapshot
        waiting, subscription.waiting = subscription.waiting, []
        self.send(messages.eose(subscription.id, complete))
        for seq, message in waiting:
            self.deliver_message(subscription, seq, message)
        if settled:
            subscription.sent = None

    def fail(self, subscription: Subscription, verdict: Verdict) -> None:
        """Ends a subscription from our side. The shell must drop it from the live index."""
        if subscription.closed:
            return
        self.forget(subscription)
        self.refused("live", verdict)
        self.send(messages.closed(subscription.id, verdict.message))

    def counted(self, query_id: str, count: int, *, approximate: bool, registers: bytes = b"") -> None:
        """The answer to a COUNT."""
        self.counting -= 1
        self.send(messages.count(query_id, count, approximate=approximate, registers=registers))

    def uncounted(self, query_id: str, refused: Refused) -> None:
        self.counting -= 1
        self.refuse("COUNT", query_id, refused)

    def negotiate(self, negotiation: Negotiation, answer: bytes) -> None:
        """The answer to a message that was Negotiated."""
        if not negotiation.closed:
            negotiation.busy = False
            self.send(messages.neg_msg(negotiation.id, answer))

    def fail_negotiation(self, negotiation: Negotiation, refused: Refused, *more: int) -> None:
        """Ends a negotiation from our side."""
        if not negotiation.closed:
            negotiation.closed = True
            self.negotiations.pop(negotiation.id, None)
            self.refuse_negotiation(negotiation.id, refused, *more)

    def end(self) -> list[Subscription]:
        """The connection is gone: nothing is sent any more. Returns what was open."""
        for negotiation in self.negotiations.values():
            negotiation.closed = True
        self.negotiations.clear()
        open_ = list(self.subscriptions.values())
        for subscription in open_:
            self.forget(subscription)
        self.ended = True
        self._out.clear()
        return open_

    # --- What is to be sent --------------------------------------------------------------------------

    @property
    def unsent(self) -> int:
        """Bytes in the outbox."""
        return self._out_bytes

    def outbox(self, limit: int | None = None) -> list[bytes]:
        """Takes what is to be sent, in order, one text message each; about `limit` bytes of it."""
        return one_by_one(self.take(limit))

    def take(self, limit: int | None = None) -> list[bytes | Batch]:
        """As `outbox`, but what stands together is left together."""
        if limit is None or self._out_bytes <= limit:
            out, self._out, self._out_bytes = self._out, [], 0
            return out
        size = count = 0
        for message in self._out:
            size += len(message)
            count += 1
            if size >= limit:
                break
        out, self._out = self._out[:count], self._out[count:]
        self._out_bytes -= size
        return out

    # --- For the verbs -------------------------------------------------------------------------------

    def send(self, message: bytes | Batch) -> None:
        if self.ended:
            return
        if not self._out:
            self._wake()
        self._out.append(message)
        self._out_bytes += len(message)

    def say(self, event_id: str | None, verdict: Verdict) -> None:
        """The OK for an event; a NOTICE when not even its id can be read."""
        if verdict.code == "auth-required":
            self._challenge_once()
        self.send(messages.notice(verdict.message) if event_id is None else messages.ok(event_id, verdict))

    def refused(self, verb: str, verdict: Verdict) -> None:
        """Before it is said: it counts, and where a login would help the client is given its challenge."""
        self.refusals[verb, verdict.code] += 1
        self._count(verdict)
        if verdict.code == "auth-required":
            self._challenge_once()

    def complain(self, verb: str, verdict: Verdict) -> None:
        """The NOTICE for what belongs to nothing that an answer could name."""
        self.refused(verb, verdict)
        self.send(messages.notice(verdict.message))

    def refuse(self, verb: str, identifier: str, refused: Refused) -> None:
        """The CLOSED for a question that is not answered."""
        self.refused(verb, _verdict(refused))
        self.send(messages.closed(identifier, f"{refused.code}: {refused.sentence}"))

    def refuse_negotiation(self, identifier: str, refused: Refused, *more: int) -> None:
        """The NEG-ERR: the negotiation is not, or no longer, open."""
        self.refused("NEG", _verdict(refused))
        self.send(messages.neg_err(identifier, f"{refused.code}: {refused.sentence}", *more))

    def forget(self, subscription: Subscription) -> None:
        subscription.closed = True
        subscription.waiting.clear()
        self.subscriptions.pop(subscription.id, None)

    def _challenge_once(self) -> None:
        if not self._challenged:
            self._challenged = True
            self.send(messages.auth(self._challenge))


def _was_sent(subscription: Subscription, message: bytes) -> bool:
    """Whether a live event that the snapshot covers was given already."""
    start = len(subscription.prefix)
    return subscription.sent is None or message[start + ID.start : start + ID.stop] in subscription.sent


def _verdict(refused: Refused) -> Verdict:
    return refuse(refused.code, refused.sentence)  # type: ignore[arg-type]


def max_message_bytes(config: RelaySection) -> int:
    """The longest message that is acted upon: the largest event with the brackets of EVENT. Questions and
    reconciliations do not get shorter with the events that are taken."""
    return max(config.max_event_bytes, QUESTION_BYTES) + len(b'["EVENT",]')
