"""What went through the relay: plain integers where events pass, arithmetic when somebody looks. Pure.

Nothing here grows with what strangers send: kinds beyond the first MAX_KINDS are counted as one, reasons
beyond MAX_REASONS too, and of authors and addresses only the busiest are known (`frequent.py`). A
connection counts for itself, in its client's `Use`; its share goes to its address when it ends.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from meshconsole.core.status import KindCount, RelayRates, SlowClient, Talker
from meshconsole.relay.frequent import Busiest, Use, busiest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshconsole.core.verdict import Verdict

MAX_KINDS = 256
OTHER_KINDS = -1
MAX_REASONS = 128
OTHER_REASONS = "for other reasons"
SAMPLES = 6
"""Rates are averages over so many samples, so that they can be read."""
SHOWN = 8
"""Talkers, kinds and slow clients that a status names."""


class Counts(NamedTuple):
    """Since the start."""

    events_in: int
    events_out: int
    requests: int
    bytes_in: int
    bytes_out: int
    refused: int


class Traffic:
    def __init__(self) -> None:
        self.events_in = 0
        self.events_out = 0
        self.requests = 0
        self.bytes_in = 0
        self.bytes_out = 0
        """Bytes of connections that have ended; the open ones count for themselves."""
        self.refused = 0
        self.slow_closed = 0
        """Subscriptions and connections that were ended because they were not read."""
        self.queries_cut = 0
        self.reasons: dict[str, int] = {}
        self.kinds: dict[int, int] = {}
        self.authors = Busiest()
        self.addresses = Busiest()
        self._samples: deque[tuple[float, Counts, dict[int, int]]] = deque(maxlen=SAMPLES)

    def stored(self, kind: int, author: str, size: int) -> None:
        """An event was taken in."""
        self.events_in += 1
        try:
            self.kinds[kind] += 1
        except KeyError:
            self._count_new_kind(kind)
        use = self.authors.current.get(author) or self.authors.of(author, 0)
        use.weight += 1
        use.events += 1
        use.bytes_in += size

    def _count_new_kind(self, kind: int) -> None:
        if len(self.kinds) >= MAX_KINDS:
            kind = OTHER_KINDS
        self.kinds[kind] = self.kinds.get(kind, 0) + 1

    def refuse(self, verdict: Verdict, client: Use | None = None) -> None:
        """Something was turned away, with its code and the beginning of its sentence as the reason."""
        self.refused += 1
        if client is not None:
            client.refused += 1
        reason = f"{verdict.code}: {verdict.sentence.partition(';')[0].partition(':')[0]}"
        if reason not in self.reasons and len(self.reasons) >= MAX_REASONS:
            reason = OTHER_REASONS
        self.reasons[reason] = self.reasons.get(reason, 0) + 1

    def ended(self, address: str, npubs: Iterable[str], use: Use) -> None:
        """A connection is gone: what it did stays known of its address and keys."""
        self.bytes_in += use.bytes_in
        self.bytes_out += use.bytes_out
        self.addresses.of(address, use.busyness + 1).add(use)
        for npub in npubs:
            kept = self.authors.of(npub)
            kept.requests += use.requests
            kept.refused += use.refused
            kept.bytes_out += use.bytes_out

    def counts(self, open_: Iterable[Use]) -> Counts:
        bytes_in, bytes_out = self.bytes_in, self.bytes_out
        for use in open_:
            bytes_in += use.bytes_in
            bytes_out += use.bytes_out
        return Counts(self.events_in, self.events_out, self.requests, bytes_in, bytes_out, self.refused)

    def sample(self, now: float, open_: Iterable[Use]) -> None:
        """Every few seconds. `now` is monotonic."""
        self.authors.turn(now)
        self.addresses.turn(now)
        self._samples.append((now, self.counts(open_), dict(self.kinds)))

    def rates(self) -> RelayRates:
        """Per second, over the last samples."""
        if len(self._samples) < 2:
            return RelayRates()
        (began, first, _), (ended, last, _) = self._samples[0], self._samples[-1]
        elapsed = max(ended - began, 1e-9)
        return RelayRates(*((after - before) / elapsed for before, after in zip(first, last, strict=True)))

    def top_kinds(self) -> tuple[KindCount, ...]:
        """The most frequent now first, then the most frequent ever."""
        elapsed, before = 0.0, self.kinds
        if len(self._samples) >= 2:
            (began, _, before), (ended, _, _) = self._samples[0], self._samples[-1]
            elapsed = ended - began
            after = self._samples[-1][2]
        else:
            after = self.kinds
        rows = [
            KindCount(kind, count, (after.get(kind, 0) - before.get(kind, 0)) / elapsed if elapsed else 0.0)
            for kind, count in self.kinds.items()
        ]
        rows.sort(key=lambda row: (-row.per_s, -row.count, row.kind))
        return tuple(rows[:SHOWN])

    def top_authors(self) -> tuple[Talker, ...]:
        return _talkers(self.authors.totals(), {})

    def top_addresses(self, open_: Iterable[tuple[str, Use]]) -> tuple[Talker, ...]:
        """Those of the open connections come to what is known of the ended ones."""
        totals = self.addresses.totals()
        connections: dict[str, int] = {}
        for address, use in open_:
            totals.setdefault(address, Use()).add(use)
            connections[address] = connections.get(address, 0) + 1
        return _talkers(totals, connections)


def slowest(clients: Iterable[SlowClient]) -> tuple[SlowClient, ...]:
    """Those that owe the most first."""
    return tuple(sorted(clients, key=lambda client: (-client.unsent_bytes, client.address))[:SHOWN])


def _talkers(totals: dict[str, Use], connections: dict[str, int]) -> tuple[Talker, ...]:
    return tuple(
        Talker(
            source,
            connections.get(source, 0),
            use.events,
            use.requests,
            use.bytes_in,
            use.bytes_out,
            use.refused,
        )
        for source, use in busiest(totals, SHOWN)
    )
