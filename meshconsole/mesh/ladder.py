"""The ladder: where peers may be found, which address to try when, and what came of it. Pure.

Every rung of discovery (mDNS, beacons, cached peers, invites, what peers say of themselves and of each
other) puts candidates in; the dialler takes out what is due and reports the outcome, which stays on record
(`attempts.py`) so that "why can't I see X" has an answer. The laws:

1. An address is a hint, never a proof: who is there, the link's handshake tells.
2. Failures back off from FIRST_S to LAST_S with jitter, so that a team that comes back together does
   not dial in step. Somebody else's device at an address backs off for STRANGER_S and longer; a peer
   that was linked RECENT_S ago or less is tried every RECENT_LAST_S, so that it is back soon after its path.
3. Nobody is dialled who has a link already on which anything is heard, and no address twice at once.
4. The number of candidates is bounded: those that anybody may have named go first, then those that never
   worked and were not seen lately.

Times are in seconds on one monotonic clock; the random numbers come from outside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from meshconsole.mesh.attempts import Attempts

if TYPE_CHECKING:
    from random import Random

    from meshconsole.mesh.attempts import Outcome, Source

FIRST_S = 1.0
LAST_S = 60.0
RECENT_S = 120.0
RECENT_LAST_S = 0.3
STRANGER_S = 600.0
STRANGER_LAST_S = 3600.0
UNPROVEN_S = 20.0
"""An address without a sign that it is of this team waits so long before it is tried."""
MAX_CANDIDATES = 256
MAX_DIALS = 8
UNWANTED_S = 30.0
AWAY_FAILURES = 2
STABLE_S = 15.0
"""A link that lived shorter than this counts as a failure when it ends: two devices with one identity,
or a rule of ours that is wrong, must not make links flap twice a second."""
_JITTER = 0.25
_SHOWN = ("mdns", "beacon")
"""Rungs by which a device shows itself, now."""


class Candidate(msgspec.Struct):
    """One address. `npub` is who answered there last, or who said it is theirs; "" if nobody knows."""

    address: str
    source: Source
    npub: str
    next_try: float
    seen: float
    """When a rung named it last."""
    group: str = ""
    """Addresses of one device, whoever it is, have the same group and are tried one after the other."""
    is_proven: bool = True
    """Whoever named it has shown to be of the team, or the owner has."""
    outcome: Outcome = ""
    attempts: int = 0
    failures: int = 0
    """In a row."""
    linked_at: float | None = None
    lost_at: float | None = None
    """When a link that had been stable was lost here."""
    last_try: float | None = None
    last_error: str = ""
    ever_worked: bool = False


class Ladder(msgspec.Struct):
    random: Random
    attempts: Attempts = msgspec.field(default_factory=Attempts)
    _candidates: dict[str, Candidate] = msgspec.field(default_factory=dict)
    _linked: set[str] = msgspec.field(default_factory=set)

    def offer(
        self,
        address: str,
        source: Source,
        now: float,
        *,
        npub: str = "",
        group: str = "",
        is_proven: bool = True,
    ) -> None:
        """A rung names an address. What is new is due at once, or in UNPROVEN_S if `is_proven` is False.

        A peer that shows itself again (mDNS, a beacon) after failures is tried soon, not at the end of its
        backoff.
        """
        known = self._candidates.get(address)
        if known is None:
            self._make_room()
            due = now if is_proven else now + self._jittered(UNPROVEN_S)
            self._candidates[address] = Candidate(address, source, npub, due, now, group, is_proven)
            return
        known.seen = now
        known.is_proven = known.is_proven or is_proven
        known.group = group or known.group
        if npub and known.outcome != "linked":
            known.npub = npub
        if source in _SHOWN and known.outcome == "failed" and is_proven:
            known.failures = min(known.failures, 2)
            known.next_try = min(known.next_try, now + self._jittered(FIRST_S))

    def withdraw(self, address: str) -> None:
        """A rung takes back an address that never worked (mDNS goodbye)."""
        known = self._candidates.get(address)
        if known is not None and not known.ever_worked and known.outcome != "trying":
            del self._candidates[address]

    def due(self, now: float) -> list[Candidate]:
        """What to dial now, at most MAX_DIALS at once and one address for each peer. What may be anybody's
        comes last and takes half of the places: a stranger who names a thousand addresses delays nobody."""
        trying = [c for c in self._candidates.values() if c.outcome == "trying"]
        busy = {name for c in trying for name in (c.npub, c.group) if name}
        room = MAX_DIALS - len(trying)
        unproven = sum(not c.is_proven for c in trying)
        found: list[Candidate] = []
        for candidate in sorted(self._candidates.values(), key=lambda c: (not c.is_proven, c.next_try)):
            if len(found) >= room or (not candidate.is_proven and unproven >= MAX_DIALS // 2):
                break
            if candidate.next_try > now or candidate.outcome in ("trying", "self"):
                continue
            if candidate.npub in self._linked:
                continue
            names = {name for name in (candidate.npub, candidate.group) if name}
            if names & busy:
                continue
            found.append(candidate)
            unproven += not candidate.is_proven
            busy |= names
        return found

    def postpone(self, address: str, now: float) -> None:
        """There are links enough: it is looked at again in UNWANTED_S."""
        self._candidates[address].next_try = now + self._jittered(UNWANTED_S)

    def away(self) -> set[str]:
        """Devices that failed to answer, wherever they were sought."""
        failures: dict[str, int] = {}
        for candidate in self._candidates.values():
            known = failures.get(candidate.npub, candidate.failures)
            failures[candidate.npub] = min(known, candidate.failures)
        return {npub for npub, count in failures.items() if count >= AWAY_FAILURES}

    def known_devices(self) -> set[str]:
        """Those for whom any address is on record."""
        return {candidate.npub for candidate in self._candidates.values()}

    def next_timer(self) -> float | None:
        waiting = [
            c.next_try
            for c in self._candidates.values()
            if c.outcome not in ("trying", "self") and c.npub not in self._linked
        ]
        return min(waiting, default=None)

    def started(self, address: str, now: float) -> None:
        candidate = self._candidates[address]
        candidate.outcome = "trying"
        candidate.attempts += 1
        candidate.last_try = now
        self.attempts.begin(candidate.source, address, candidate.npub, now)

    def linked(self, address: str, npub: str, now: float) -> None:
        """The handshake at this address proved to be with `npub`, of this team."""
        candidate = self._candidates.get(address)
        if candidate is None:
            self._make_room()
            candidate = self._candidates[address] = Candidate(address, "peer", npub, now, now)
        candidate.outcome = "linked"
        for other in self._candidates.values():
            if other is candidate or (candidate.group and other.group == candidate.group):
                other.npub = npub
        candidate.linked_at = now
        candidate.lost_at = None
        candidate.last_error = ""
        candidate.ever_worked = candidate.is_proven = True
        candidate.seen = now
        candidate.next_try = now + self._jittered(FIRST_S)
        self.attempts.end(address, "linked", now, npub=npub)

    def failed(self, address: str, error: str, now: float) -> None:
        candidate = self._candidates[address]
        candidate.outcome = "failed"
        candidate.failures += 1
        candidate.last_error = error
        candidate.next_try = now + self._backoff(candidate, now)
        self.attempts.end(address, "failed", now, error=error)

    def stranger(self, address: str, error: str, now: float) -> None:
        """Somebody answers there who is not of this team, or to whom this node is not."""
        candidate = self._candidates[address]
        candidate.outcome = "stranger"
        candidate.npub = ""
        candidate.failures += 1
        candidate.last_error = error
        delay = min(STRANGER_LAST_S, STRANGER_S * 2.0 ** min(candidate.failures - 1, 8))
        candidate.next_try = now + self._jittered(delay)
        self.attempts.end(address, "stranger", now, error=error)

    def is_self(self, address: str, now: float) -> None:
        """This node answers there itself."""
        candidate = self._candidates[address]
        candidate.outcome = "self"
        candidate.npub = ""
        candidate.last_error = "This address is this node's own."
        self.attempts.end(address, "self", now)

    def peer_up(self, npub: str) -> None:
        self._linked.add(npub)

    def peer_silent(self, npub: str, now: float) -> None:
        """The peer has links, and nothing is heard on them: what worked before is dialled anew."""
        if npub not in self._linked:
            return
        self._linked.discard(npub)
        for candidate in self._candidates.values():
            if candidate.npub == npub and candidate.outcome == "linked":
                self._lost(candidate, now)
                candidate.next_try = now

    def peer_down(self, npub: str, now: float) -> None:
        """The last websocket link to the peer is gone: what worked is due soon, the rest in its turn."""
        self._linked.discard(npub)
        for candidate in self._candidates.values():
            if candidate.npub == npub and candidate.outcome == "linked":
                self._lost(candidate, now)
                candidate.next_try = now + self._backoff(candidate, now) / 2

    def _lost(self, candidate: Candidate, now: float) -> None:
        is_stable = candidate.linked_at is not None and now - candidate.linked_at >= STABLE_S
        candidate.failures = 0 if is_stable else candidate.failures + 1
        candidate.lost_at = now if is_stable else None
        candidate.outcome = ""

    def network_changed(self, now: float) -> None:
        """All bets are off: everything that failed is due again, spread over FIRST_S."""
        for candidate in self._candidates.values():
            if candidate.outcome in ("failed", "self"):
                candidate.outcome = ""
                candidate.failures = 0
                candidate.next_try = min(candidate.next_try, now + self.random.random() * FIRST_S)

    def roster_changed(self, now: float) -> None:
        """Strangers may be members now."""
        for candidate in self._candidates.values():
            if candidate.outcome == "stranger":
                candidate.failures = 0
                candidate.next_try = min(candidate.next_try, now + self.random.random() * 2 * FIRST_S)

    def candidates(self, npub: str = "") -> tuple[Candidate, ...]:
        """On record for one peer, or all; those that worked first."""
        found = [c for c in self._candidates.values() if not npub or c.npub == npub]
        return tuple(sorted(found, key=lambda c: (not c.ever_worked, c.failures, c.address)))

    def count(self, source: Source) -> int:
        return sum(1 for c in self._candidates.values() if c.source == source)

    def _make_room(self) -> None:
        if len(self._candidates) < MAX_CANDIDATES:
            return
        loser = min(
            (c for c in self._candidates.values() if c.outcome not in ("trying", "linked")),
            key=lambda c: (c.ever_worked, c.is_proven, c.seen),
            default=None,
        )
        if loser is not None:
            del self._candidates[loser.address]

    def is_hurried(self, address: str, now: float) -> bool:
        """Whether a dial should not wait long for an answer: whoever was there lately answers soon or is not
        back yet, and a new try is sent at once, while the system sends the old one ever more seldom. Not
        every time, for a path that is slow."""
        candidate = self._candidates[address]
        return self._is_recent(candidate, now) and candidate.failures % 3 != 2

    def _backoff(self, candidate: Candidate, now: float) -> float:
        exponent = min(max(candidate.failures - 1, 0), 16)
        last = RECENT_LAST_S if self._is_recent(candidate, now) else LAST_S
        return self._jittered(min(last, FIRST_S * 2.0**exponent))

    @staticmethod
    def _is_recent(candidate: Candidate, now: float) -> bool:
        return candidate.lost_at is not None and now - candidate.lost_at < RECENT_S

    def _jittered(self, delay: float) -> float:
        return delay * (1 + _JITTER * (2 * self.random.random() - 1))
