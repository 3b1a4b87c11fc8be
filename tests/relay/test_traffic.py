from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.status import KindCount, RelayRates, SlowClient
from meshconsole.core.verdict import refuse
from meshconsole.relay import traffic as module
from meshconsole.relay.frequent import Use
from meshconsole.relay.traffic import OTHER_KINDS, OTHER_REASONS, Traffic, slowest

if TYPE_CHECKING:
    import pytest


def test_rates_are_averages_over_the_last_samples() -> None:
    traffic = Traffic()
    assert traffic.rates() == RelayRates()
    open_ = Use()
    for second in range(20):
        traffic.sample(second, [open_])
        for _ in range(second):
            traffic.stored(1, "a", 100)
        open_.bytes_in += 1000
    assert traffic.rates() == RelayRates(events_in=16.0, bytes_in=1000.0)


def test_bytes_of_connections_that_ended_still_count() -> None:
    traffic = Traffic()
    traffic.sample(0, [Use(bytes_in=5, bytes_out=7)])
    traffic.ended("192.0.2.1", [], Use(bytes_in=15, bytes_out=27))
    traffic.sample(10, [])
    assert traffic.rates() == RelayRates(bytes_in=1.0, bytes_out=2.0)


def test_refusals_are_counted_by_reason() -> None:
    traffic, client = Traffic(), Use()
    for size in (5, 6):
        traffic.refuse(refuse("invalid", f"not JSON: at byte {size}"), client)
    traffic.refuse(refuse("rate-limited", "at most 5 events per second"))
    assert traffic.reasons == {"invalid: not JSON": 2, "rate-limited: at most 5 events per second": 1}
    assert client.refused == 2
    assert traffic.refused == 3


def test_reasons_and_kinds_that_strangers_invent_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REASONS", 3)
    monkeypatch.setattr(module, "MAX_KINDS", 3)
    traffic = Traffic()
    for number in range(50):
        traffic.refuse(refuse("invalid", f"reason {number}"))
        traffic.stored(number, f"author {number}", 1)
    assert traffic.reasons == {f"invalid: reason {n}": 1 for n in range(3)} | {OTHER_REASONS: 47}
    assert traffic.kinds == {0: 1, 1: 1, 2: 1, OTHER_KINDS: 47}
    assert len(traffic.authors) <= 256


def test_the_busiest_kinds_now_come_first() -> None:
    traffic = Traffic()
    for _ in range(9):
        traffic.stored(1, "a", 1)
    traffic.sample(0, [])
    traffic.stored(7, "a", 1)
    traffic.sample(2, [])
    assert traffic.top_kinds() == (KindCount(7, 1, 0.5), KindCount(1, 9, 0.0))


def test_top_talkers() -> None:
    traffic = Traffic()
    traffic.stored(1, "alice", 300)
    traffic.ended("192.0.2.1", ["alice"], Use(events=1, requests=4, bytes_in=320, bytes_out=50, refused=2))
    (alice,) = traffic.top_authors()
    assert (alice.events, alice.requests, alice.bytes_in, alice.refused) == (1, 4, 300, 2)
    first, second = traffic.top_addresses([("192.0.2.2", Use(events=50)), ("192.0.2.2", Use(events=1))])
    assert (first.source, first.connections, first.events) == ("192.0.2.2", 2, 51)
    assert (second.source, second.connections, second.events) == ("192.0.2.1", 0, 1)


def test_slow_clients_come_by_what_they_owe() -> None:
    clients = [SlowClient(str(n), "", n, 1.0) for n in range(20)]
    assert [client.unsent_bytes for client in slowest(clients)] == [19, 18, 17, 16, 15, 14, 13, 12]
