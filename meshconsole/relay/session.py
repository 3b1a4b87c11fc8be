"""One client's NIP-01 session, sans I/O: messages in, messages and happenings out. Pure.

Laws:
- Every EVENT whose id can be read gets exactly one OK; every REQ gets EOSE or CLOSED, once.
- A subscription is registered for live events before its stored part is read. While that is under
  way live events wait; when it ends, those that the reading already covered (`seq` up to the
  snapshot's head) are dropped and the others follow. So none is lost and none comes twice.
- Nothing is sent for a subscription after it was closed or replaced.

The shell feeds `receive`, carries out what it returns, calls `answer`, `deliver`, `stored`, `finish`
and `fail` as results come in, and writes what `outbox` gives whenever `wake` was called.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from meshconsole.core.errors import Refused
from meshconsole.core.limits import TokenBucket
from meshconsole.core.verdict import ACCEPTED, Verdict, refuse
from meshconsole.relay import messages
from meshconsole.relay.event import claimed_id, readable_id
from meshconsole.relay.filter import Filter, parse_filter
from meshconsole.relay.login import proven_key
from meshconsole.relay.policy import Client, judge_filters, may_ask, may_offer, narrowed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from meshconsole.core.config import RelaySection

MAX_SUBSCRIPTION_ID = 64
MAX_FILTER_VALUES = 10_000
"""Listed values of all filters of a session: each one costs memory for as long as it is open."""

MAX_WAITING_BYTES = 1 << 20
"""Live events held back while the stored part of a subscription is being sent."""

MAX_UNSENT_BYTES = 1 << 20
"""Live events that a slow client may owe; beyond it the subscription ends, never silently."""

BURST_S = 4
"""How many seconds' worth of the allowed rate may come at once."""

MAX_KEYS = 16
"""Public keys that one connection may prove."""


@dataclass(slots=True, eq=False)
class Subscription:
    """One open REQ. `snapshot` is the store's head when the stored part was read, -1 before."""

    session: Session
    id: str
    filters: tuple[Filter, ...]
    prefix: bytes
    snapshot: int = -1
    reading: bool = True
    closed: bool = False
    waiting: list[tuple[int, bytes]] = field(default_factory=list)
    waiting_bytes: int = 0


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


Happening = Offered | TurnedAway | Opened | Closed


class Session:
    """`challenge` is fresh and unguessable; `wake` is called when the outbox stops being empty.

    `is_own_url` says whether a relay URL in a login means this relay.
    """

    def __init__(
        self,
        client: Client,
        config: RelaySection,
        challenge: str,
        wake: Callable[[], None],
        is_own_url: Callable[[str], bool],
    ) -> None:
        self._is_own_url = is_own_url
        self.client = client
        self.subscriptions: dict[str, Subscription] = {}
        self.offered = 0
        self.offered_bytes = 0
        """Events that wait for their OK."""
        self._challenge = challenge
        self._challenged = False
        self._wake = wake
        self._ended = False
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._events = TokenBucket(0, 0)
        self._requests = TokenBucket(0, 0)
        self.apply(config)
        if not client.trusted and not client.access.public():
            self._challenge_once()

    def apply(self, config: RelaySection) -> None:
        """New limits, from now on."""
        self._config = config
        rate = config.events_per_second if config.rate_limits else 0
        self._events.set_rate(rate, rate * BURST_S)
        self._requests.set_rate(rate, rate * BURST_S)

    def receive(self, message: bytes, now: float) -> list[Happening]:
        """One text message. `now` is monotonic seconds. Never raises for what a client sends."""
        try:
            parts = _parts(message)
            verb = msgspec.json.decode(parts[0], type=str)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, IndexError):
            self._send(messages.notice("invalid: a message must be a JSON array that begins with a verb"))
            return []
        if len(message) > max_message_bytes(self._config) and verb != "EVENT":
            self._send(messages.notice("invalid: this message is longer than the relay takes"))
            return []
        if verb == "EVENT":
            return self._event(parts, now)
        if verb == "REQ":
            return self._req(parts, now)
        if verb == "CLOSE":
            return self._close(parts)
        if verb == "AUTH":
            return self._auth(parts, now)
        return self._unsupported(verb, parts)

    @property
    def reading(self) -> int:
        """Subscriptions whose stored part is under way."""
        return sum(subscription.reading for subscription in self.subscriptions.values())

    @property
    def unsent(self) -> int:
        """Bytes in the outbox."""
        return self._out_bytes

    def outbox(self, limit: int | None = None) -> list[bytes]:
        """Takes what is to be sent, in order, one text message each; about `limit` bytes of it."""
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

    def answer(self, event_id: str | None, size: int, verdict: Verdict) -> None:
        """The OK for `size` bytes that were Offered; a NOTICE when not even an id can be read."""
        self.offered -= 1
        self.offered_bytes -= size
        self._answer(event_id, verdict)

    def _answer(self, event_id: str | None, verdict: Verdict) -> None:
        if verdict.code == "auth-required":
            self._challenge_once()
        self._send(messages.notice(verdict.message) if event_id is None else messages.ok(event_id, verdict))

    def end(self) -> list[Subscription]:
        """The connection is gone: nothing is sent any more. Returns what was open."""
        open_ = list(self.subscriptions.values())
        for subscription in open_:
            self._forget(subscription)
        self._ended = True
        self._out.clear()
        return open_

    def deliver(self, subscription: Subscription, seq: int, raw: bytes) -> None:
        """A live event. `seq` is its place in the store, 0 if it is not stored."""
        if subscription.closed:
            return
        if subscription.reading:
            subscription.waiting.append((seq, raw))
            subscription.waiting_bytes += len(raw)
            if subscription.waiting_bytes > MAX_WAITING_BYTES:
                self.fail(subscription, refuse("error", "too slow: live events outran the stored ones"))
            return
        if seq != 0 and seq <= subscription.snapshot:
            return
        if self._out_bytes > MAX_UNSENT_BYTES:
            self.fail(subscription, refuse("error", "too slow: events came faster than you read them"))
            return
        self._send(subscription.prefix + raw + b"]")

    def stored(self, subscription: Subscription, raws: Sequence[bytes]) -> None:
        """Part of the stored events."""
        if not subscription.closed and raws:
            prefix = subscription.prefix
            self._send_all([prefix + raw + b"]" for raw in raws])

    def finish(self, subscription: Subscription, snapshot: int) -> None:
        """All stored events were given; `snapshot` is the store's head at the time of reading."""
        if subscription.closed:
            return
        subscription.reading, subscription.snapshot = False, snapshot
        waiting, subscription.waiting = subscription.waiting, []
        self._send(messages.eose(subscription.id))
        for seq, raw in waiting:
            self.deliver(subscription, seq, raw)

    def fail(self, subscription: Subscription, verdict: Verdict) -> None:
        """Ends a subscription from our side. The shell must drop it from the live index."""
        if subscription.closed:
            return
        self._forget(subscription)
        self._send(messages.closed(subscription.id, verdict.message))

    def _event(self, parts: list[msgspec.Raw], now: float) -> list[Happening]:
        if len(parts) != 2:
            self._send(messages.notice("invalid: EVENT takes exactly one event"))
            return []
        data = bytes(parts[1])
        verdict = self._may_offer(data, now)
        if verdict.accepted:
            self.offered += 1
            self.offered_bytes += len(data)
            return [Offered(data, claimed_id(data))]
        identifier = readable_id(data)
        self._answer(identifier, verdict)
        return [TurnedAway(identifier or "", len(data), verdict)]

    def _may_offer(self, data: bytes, now: float) -> Verdict:
        if not self._events.try_take(1, now):
            rate = self._config.events_per_second
            return refuse("rate-limited", f"at most {rate} events per second")
        if len(data) > self._config.max_event_bytes and not self.client.trusted:
            return refuse("invalid", f"the event is larger than {self._config.max_event_bytes} bytes")
        return may_offer(self.client)

    def _req(self, parts: list[msgspec.Raw], now: float) -> list[Happening]:
        identifier = self._subscription_id("REQ", parts)
        if identifier is None:
            return []
        happened = self._replace(identifier)
        try:
            filters = self._filters(parts[2:])
            self._check_req(filters, now)
        except Refused as refused:
            if refused.code == "auth-required":
                self._challenge_once()
            self._send(messages.closed(identifier, f"{refused.code}: {refused.sentence}"))
            return happened
        filters = tuple(narrowed(wanted, self.client) for wanted in filters)
        subscription = Subscription(self, identifier, filters, messages.event_prefix(identifier))
        self.subscriptions[identifier] = subscription
        return [*happened, Opened(subscription)]

    def _filters(self, parts: Sequence[msgspec.Raw]) -> tuple[Filter, ...]:
        if not parts:
            raise Refused("invalid", "REQ needs at least one filter")
        if len(parts) > self._config.max_filters:
            raise Refused("invalid", f"at most {self._config.max_filters} filters in one REQ")
        try:
            filters = tuple(parse_filter(msgspec.json.decode(part)) for part in parts)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Refused("invalid", f"the filters are not valid JSON: {error}") from None
        if any(wanted.search for wanted in filters):
            raise Refused("unsupported", "search is not offered here")
        return filters

    def _check_req(self, filters: tuple[Filter, ...], now: float) -> None:
        """Raises Refused: the gates, then the limits."""
        for verdict in (may_ask(self.client), judge_filters(filters, self.client)):
            if not verdict.accepted:
                raise Refused(verdict.code, verdict.sentence)
        if not self._requests.try_take(1, now):
            raise Refused("rate-limited", f"at most {self._config.events_per_second} requests per second")
        if len(self.subscriptions) >= self._config.max_subscriptions:
            limit = self._config.max_subscriptions
            raise Refused("rate-limited", f"at most {limit} subscriptions at once; close one first")
        kept = sum(wanted.size for open_ in self.subscriptions.values() for wanted in open_.filters)
        if kept + sum(wanted.size for wanted in filters) > MAX_FILTER_VALUES:
            raise Refused(
                "rate-limited", f"at most {MAX_FILTER_VALUES} values in all filters of a connection"
            )

    def _close(self, parts: list[msgspec.Raw]) -> list[Happening]:
        identifier = self._subscription_id("CLOSE", parts)
        return [] if identifier is None else self._replace(identifier)

    def _replace(self, identifier: str) -> list[Happening]:
        subscription = self.subscriptions.get(identifier)
        if subscription is None:
            return []
        self._forget(subscription)
        return [Closed(subscription)]

    def _forget(self, subscription: Subscription) -> None:
        subscription.closed = True
        subscription.waiting.clear()
        self.subscriptions.pop(subscription.id, None)

    def _subscription_id(self, verb: str, parts: list[msgspec.Raw]) -> str | None:
        """1 to 64 characters. Otherwise CLOSED where the client can tell what it belongs to."""
        try:
            identifier = msgspec.json.decode(parts[1], type=str)
        except (msgspec.MsgspecError, UnicodeDecodeError, IndexError):
            self._send(messages.notice(f"invalid: {verb} needs a subscription id"))
            return None
        if 1 <= len(identifier) <= MAX_SUBSCRIPTION_ID:
            return identifier
        if verb == "REQ" and len(identifier) <= 4 * MAX_SUBSCRIPTION_ID:
            text = f"invalid: a subscription id has 1 to {MAX_SUBSCRIPTION_ID} characters"
            self._send(messages.closed(identifier, text))
        else:
            self._send(
                messages.notice(f"invalid: {verb} with a subscription id of {len(identifier)} characters")
            )
        return None

    def _auth(self, parts: list[msgspec.Raw], now: float) -> list[Happening]:
        if len(parts) != 2:
            self._send(messages.notice("invalid: AUTH takes exactly one event"))
            return []
        data = bytes(parts[1])
        self._answer(readable_id(data), self._prove(data, now))
        return []

    def _prove(self, data: bytes, now: float) -> Verdict:
        if not self._requests.try_take(1, now):
            return refuse("rate-limited", "too many AUTH messages")
        challenge = self._challenge if self._challenged else ""
        try:
            npub = proven_key(data, challenge, self._is_own_url, self._config.max_event_bytes)
        except Refused as refused:
            return refuse("invalid", refused.sentence)
        if npub not in self.client.npubs:
            if len(self.client.npubs) >= MAX_KEYS:
                return refuse("restricted", f"at most {MAX_KEYS} keys on one connection")
            self.client.npubs += (npub,)
        return ACCEPTED

    def _unsupported(self, verb: str, parts: list[msgspec.Raw]) -> list[Happening]:
        shown = msgspec.json.encode(verb[:32]).decode()
        if verb == "COUNT":
            identifier = self._subscription_id("REQ", parts)
            if identifier is not None:
                self._send(messages.closed(identifier, "unsupported: COUNT is not offered here"))
        else:
            self._send(messages.notice(f"unsupported: {shown} is not known here"))
        return []

    def _challenge_once(self) -> None:
        if not self._challenged:
            self._challenged = True
            self._send(messages.auth(self._challenge))

    def _send(self, message: bytes) -> None:
        self._send_all([message])

    def _send_all(self, several: list[bytes]) -> None:
        if self._ended:
            return
        if not self._out:
            self._wake()
        self._out += several
        self._out_bytes += sum(map(len, several))


def max_message_bytes(config: RelaySection) -> int:
    """The longest message that is acted upon: the largest event with the brackets of EVENT."""
    return config.max_event_bytes + len(b'["EVENT",]')


_parts = msgspec.json.Decoder(list[msgspec.Raw]).decode
