"""What this node says to a plain Nostr relay that carries its team's sealed events: reconcile, then follow.
Pure.

The laws:

1. Only what matches `wanted` goes there, and only what matches it is taken from there: sealed kinds, by
   members. The relay is a stranger; it may lie, lose and repeat, and learns who writes when, no more.
2. What both have is found by NIP-77. A relay that does not speak it gets and gives what is new.
3. What it refuses for good is not offered again on this connection; what it refuses for now waits.
4. It may ask who this is (NIP-42): what it refused until then is said again afterwards.
5. At most WINDOW events are on their way without an answer, and one fetch at a time.
6. Large events go last, one at a time and with nothing beside them: a relay that takes no message so long
   ends the connection instead of answering, and the next one must not end by the same event.

Asks for the shell are in `asks`, messages for the relay in `outbox`. Times are seconds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import msgspec

from meshconsole.core.errors import Refused, RemoteError
from meshconsole.core.text import safe
from meshconsole.mesh.known import KnownIds
from meshconsole.mesh.uplinks.asks import Collect, Keep, Load, Settle
from meshconsole.relay.event import claimed_id
from meshconsole.relay.filter import Filter, encode_filter
from meshconsole.relay.reconciliation import Reconciliation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random

    from meshconsole.core.event import Event
    from meshconsole.relay.items import ItemVector

WINDOW = 64
FETCH = 64
MAX_WAITING = 4096
LARGE_BYTES = 60_000
"""What relays take, as they say (NIP-11, max_message_length), begins at 64 KiB."""
EVERY_S = 600.0
BUSY_S = 30.0
ANSWER_S = 30.0
"""A relay that has said nothing about a negotiation for so long does not know what it is."""
SLOWEST = 8_000.0
"""Bytes per second, at the least: an event that takes longer than ANSWER_S by such a way is waited for."""
_JITTER = 0.25
_LIVE, _SYNC = "live", "sync"

UplinkPhase = Literal["comparing", "following", "level", "refused"]


@dataclass(slots=True)
class Conversation:
    """`prove` makes the event that answers a challenge."""

    wanted: Filter
    prove: Callable[[str], Event]
    random: Random
    too_large: int = 1 << 30
    """Bytes of an event that the relay is known not to take, nor longer ones."""
    asks: list[Collect | Settle | Load | Keep] = field(default_factory=list)
    outbox: list[bytes] = field(default_factory=list)
    phase: UplinkPhase = "comparing"
    trouble: str = ""
    """What the relay does not do, in its own words or ours."""
    sent: int = 0
    received: int = 0
    refused: int = 0
    _seen: KnownIds = field(default_factory=lambda: KnownIds(8192))
    """Ids that the relay has, or does not want."""
    _negotiation: Reconciliation | None = None
    _negotiate_at: float | None = None
    _speaks: bool | None = None
    """Whether the relay knows NIP-77."""
    _have: deque[str] = field(default_factory=deque)
    _fresh: deque[tuple[str, bytes]] = field(default_factory=deque)
    _need: deque[str] = field(default_factory=deque)
    _fetch: str = ""
    """The subscription of the fetch that is under way. Each has its own: a relay may answer a CLOSE late."""
    _fetches: int = 0
    _loading: bool = False
    _unanswered: dict[str, bytes] = field(default_factory=dict)
    _large: deque[str] = field(default_factory=deque)
    _next_large: str = ""
    """The one that is being read."""
    _large_since: float | None = None
    """When one was sent that is not answered yet."""
    _paused_until: float = 0.0
    _proof: str = ""
    """Id of the event that answered the newest challenge."""
    _is_proven: bool = False
    _again: bool = False
    """Something was refused until this node has said who it is."""

    def start(self, now: float) -> None:
        """The connection is open."""
        live = msgspec.structs.replace(self.wanted, limit=1)
        self._say("REQ", _LIVE, msgspec.Raw(encode_filter(live)))
        self._negotiate(now)

    def widen(self, wanted: Filter, now: float) -> None:
        """The team has changed: other authors are wanted."""
        if wanted != self.wanted:
            self.wanted = wanted
            self.start(now)

    @property
    def lag(self) -> tuple[int, int]:
        """Known events to be fetched, and to be sent."""
        waiting = len(self._have) + len(self._fresh) + len(self._large) + bool(self._next_large)
        return len(self._need) + bool(self._fetch), waiting + len(self._unanswered)

    @property
    def large_under_way(self) -> tuple[str, int] | None:
        """Id and bytes of the large event that is not answered yet: if the connection ends now, this may
        be why."""
        if self._large_since is None:
            return None
        event_id, raw = next(iter(self._unanswered.items()))
        return event_id, len(raw)

    @property
    def _patience_s(self) -> float:
        under_way = self.large_under_way
        return max(ANSWER_S, under_way[1] / SLOWEST) if under_way is not None else ANSWER_S

    def offer(self, event_id: str, raw: bytes, now: float) -> None:
        """An event that is wanted there was stored here."""
        if bytes.fromhex(event_id) in self._seen:
            return
        if len(self._fresh) >= MAX_WAITING:
            # Comparing brings what is dropped here.
            self._fresh.popleft()
            self._negotiate_at = min(now + BUSY_S, self._negotiate_at or now + BUSY_S)
        self._queue(event_id, raw)
        self._send_on(now)

    def collected(self, items: ItemVector, now: float) -> None:
        self._negotiation = Reconciliation(_SYNC, self.wanted, items)
        self.outbox += self._negotiation.outbox
        self._negotiation.outbox.clear()
        self._negotiate_at = now + ANSWER_S if self._speaks is None else self._later(now)

    def needed(self, ids: Iterable[str], now: float) -> None:
        self._need.extend(ids)
        self._send_on(now)

    def loaded(self, raws: Iterable[bytes], now: float) -> None:
        self._loading = False
        expected, self._next_large = self._next_large, ""
        for raw in raws:
            event_id = claimed_id(raw)
            if event_id == expected:
                self._send(event_id, raw)
                self._large_since = now if self._unanswered else None
            else:
                self._queue(event_id, raw)
        self._send_on(now)

    def next_timer(self) -> float | None:
        timers = [self._negotiate_at] if self._negotiate_at is not None else []
        if self._paused_until and (self._fresh or self._have or self._large):
            timers.append(self._paused_until)
        if self._large_since is not None:
            timers.append(self._large_since + self._patience_s)
        return min(timers, default=None)

    def handle_timer(self, now: float) -> None:
        if self._negotiate_at is not None and now >= self._negotiate_at:
            if self._speaks is None and self._negotiation is not None:
                self._is_not_spoken(now)
            else:
                self._negotiate(now)
        if self._large_since is not None and now >= self._large_since + self._patience_s:
            event_id, _ = self._unanswered.popitem()
            self._answered_large()
            self._refuse(event_id, "It does not answer to an event that is so large.")
        self._send_on(now)

    def receive(self, message: bytes, now: float) -> None:
        """Raises RemoteError for what is no message of NIP-01."""
        try:
            parts = _decode(message)
            verb = msgspec.json.decode(parts[0], type=str)
            words = [_text(part) for part in parts[1:]]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, IndexError):
            raise RemoteError("bad-message", "The relay sent what is no message of NIP-01.") from None
        match verb, words:
            case "EVENT", [str(), None, *_]:
                self._take(bytes(parts[2]))
            case "EOSE", [str(sub), *_] if sub == self._fetch:
                self._say("CLOSE", self._fetch)
                self._fetch = ""
            case "OK", [str(event_id), _, *reason]:
                is_taken = bytes(parts[2]) == b"true"
                self._answered(event_id, is_taken, (reason[0] if reason else "") or "", now)
            case "CLOSED", [str(sub), *reason] if sub in (_LIVE, self._fetch):
                self._closed(sub, (reason[0] if reason else "") or "", now)
            case "AUTH", [str(challenge), *_]:
                self._authenticate(challenge)
            case (("NEG-MSG" | "NEG-ERR"), _):
                self._reconcile(message, now)
            case "NOTICE", [str(text), *_]:
                if self._negotiation is not None and self._speaks is None and "neg" in text.lower():
                    self._is_not_spoken(now)
            case _:
                pass
        self._send_on(now)

    def _negotiate(self, now: float) -> None:
        self._negotiate_at = None
        if self._speaks is False:
            self.phase = "following"
            return
        self.phase = "comparing"
        self._negotiation = None
        self.asks.append(Collect())

    def _reconcile(self, message: bytes, now: float) -> None:
        negotiation = self._negotiation
        if negotiation is None:
            return
        try:
            found = negotiation.receive(message)
        except Refused as refused:
            self._negotiation = None
            if self._wants_proof(refused.code):
                return
            self._speaks = True
            self.phase = "following"
            self.trouble = f"It does not compare: {safe(refused.sentence, 120)}"
            self._negotiate_at = self._later(now)
            return
        self._speaks = True
        self.trouble = ""
        self._have.extend(one for one in found.have if bytes.fromhex(one) not in self._seen)
        if found.need:
            self.asks.append(Settle(tuple(found.need)))
        self.outbox += negotiation.outbox
        negotiation.outbox.clear()
        if negotiation.is_done:
            self._negotiation = None
            self.phase = "following"
            self._negotiate_at = self._later(now)

    def _is_not_spoken(self, now: float) -> None:
        self._speaks = False
        self._negotiation = None
        self._negotiate_at = None
        self.phase = "following"
        self.trouble = "It does not reconcile (NIP-77): only what is new passes."

    def _take(self, raw: bytes) -> None:
        claimed = claimed_id(raw)
        if not claimed or bytes.fromhex(claimed) in self._seen or claimed in self._unanswered:
            return
        self.received += 1
        self._seen.add(bytes.fromhex(claimed))
        self.asks.append(Keep(raw))

    def _answered(self, event_id: str, is_taken: bool, reason: str, now: float) -> None:
        if event_id == self._proof:
            self._is_proven = is_taken
            if not is_taken:
                self.phase, self.trouble = "refused", f"It does not know this device: {safe(reason, 120)}"
            elif self._again:
                self._again = False
                self.start(now)
            return
        raw = self._unanswered.pop(event_id, None)
        if raw is None:
            return
        self._answered_large()
        if is_taken or reason.startswith("duplicate"):
            self.sent += 1
        elif self._wants_proof(reason):
            self._queue(event_id, raw)
            return
        elif reason.startswith(("rate-limited", "error")):
            self._queue(event_id, raw)
            self._paused_until = now + BUSY_S
            return
        else:
            self._refuse(event_id, f"It refused an event: {safe(reason, 120)}")
        self._seen.add(bytes.fromhex(event_id))

    def _queue(self, event_id: str, raw: bytes) -> None:
        if len(raw) >= self.too_large:
            self._refuse(event_id, f"It takes no event of {len(raw) // 1000} kB.")
        elif len(raw) >= LARGE_BYTES:
            self._large.append(event_id)  # read again when its turn has come
        else:
            self._fresh.append((event_id, raw))

    def _refuse(self, event_id: str, words: str) -> None:
        self.refused += 1
        self.trouble = words
        self._seen.add(bytes.fromhex(event_id))

    def _answered_large(self) -> None:
        if not self._unanswered:
            self._large_since = None

    def _closed(self, sub: str, reason: str, now: float) -> None:
        if is_fetch := sub == self._fetch:
            self._fetch = ""
        if self._wants_proof(reason):
            return
        if is_fetch:  # comparing finds again what it was to give
            self.trouble = f"It does not give what it has: {safe(reason, 120)}"
            self._negotiate_at = min(now + BUSY_S, self._negotiate_at or now + BUSY_S)
        else:
            self.phase, self.trouble = "refused", f"It does not answer: {safe(reason, 120)}"

    def _wants_proof(self, reason: str) -> bool:
        """Whether it may be different once this node has said who it is. Some relays show devices of a
        team more than they show others, and call that restricted."""
        if self._is_proven or not reason.startswith(("auth-required", "restricted")):
            return False
        self._again = True
        if not self._proof:
            self.phase, self.trouble = "refused", f"It has not asked who this is: {safe(reason, 120)}"
        return True

    def _authenticate(self, challenge: str) -> None:
        proof = self.prove(challenge[:256])
        self._proof, self._is_proven = proof.id, False
        self._say("AUTH", proof)

    def _send_on(self, now: float) -> None:
        if self._need and not self._fetch and not (self._again and not self._is_proven):
            ids = frozenset(self._need.popleft() for _ in range(min(FETCH, len(self._need))))
            self._fetches += 1
            self._fetch = f"fetch{self._fetches}"
            self._say("REQ", self._fetch, msgspec.Raw(encode_filter(Filter(ids=ids))))
        if now >= self._paused_until and not (self._again and not self._is_proven):
            self._send_events()
        if self.phase in ("following", "level") and self._speaks:
            self.phase = "level" if self.lag == (0, 0) and not self._loading else "following"

    def _send_events(self) -> None:
        if self._large_since is not None or self._next_large:
            return
        while self._fresh and len(self._unanswered) < WINDOW:
            event_id, raw = self._fresh.popleft()
            if event_id not in self._unanswered:
                self._send(event_id, raw)
        if self._loading or self._fresh:
            return
        if self._have:
            self._loading = True
            count = min(WINDOW, len(self._have))
            self.asks.append(Load(tuple(self._have.popleft() for _ in range(count))))
        elif self._large and not self._unanswered:
            self._loading, self._next_large = True, self._large.popleft()
            self.asks.append(Load((self._next_large,)))

    def _send(self, event_id: str, raw: bytes) -> None:
        if bytes.fromhex(event_id) not in self._seen:
            self._unanswered[event_id] = raw
            self._say("EVENT", msgspec.Raw(raw))

    def _later(self, now: float) -> float:
        return now + EVERY_S * (1 + _JITTER * (2 * self.random.random() - 1))

    def _say(self, *parts: object) -> None:
        self.outbox.append(_encode(parts))


def _text(part: msgspec.Raw) -> str | None:
    """None for what is no string; only strings are looked at."""
    return msgspec.json.decode(part, type=str) if bytes(part)[:1] == b'"' else None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[msgspec.Raw]).decode
