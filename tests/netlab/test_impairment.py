"""What a port does to frames: by counting, with seeded chance."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from tests.netlab.impairment import LADDER, PRESETS, Impairment, Way

UDP = b"\x02" * 12 + b"\x08\x00" + bytes(100)
MULTICAST = b"\x01\x00\x5e\x00\x00\xfb" + UDP[6:]
BROADCAST = b"\xff" * 6 + UDP[6:]
ARP = b"\xff" * 6 + b"\x02" * 6 + b"\x08\x06" + bytes(28)


def way(impairment: Impairment) -> Way:
    return Way(Random(7), impairment)


def arrivals(port: Way, frame: bytes = UDP, times: int = 10_000) -> int:
    return sum(1 for _ in range(times) for _ in port.carry(frame, 0.0))


def test_a_clean_port_passes_everything_at_once() -> None:
    assert list(way(Impairment()).carry(UDP, 3.0)) == [(3.0, UDP)]


@pytest.mark.parametrize(
    "impairment", [Impairment(loss_percent=20), Impairment(loss_percent=20, burst_frames=8)]
)
def test_the_share_that_is_lost_is_the_one_asked_for(impairment: Impairment) -> None:
    assert 7_600 < arrivals(way(impairment)) < 8_400


def test_bursts_have_the_length_asked_for() -> None:
    port = way(Impairment(loss_percent=20, burst_frames=8))
    got = [bool(list(port.carry(UDP, 0.0))) for _ in range(20_000)]
    begun = sum(1 for before, now in pairwise(got) if before and not now)
    assert 6.5 < got.count(False) / begun < 9.5


def test_multicast_may_be_lost_more_often() -> None:
    port = way(Impairment(multicast_loss_percent=80))
    assert arrivals(port, UDP) == 10_000
    assert 1_800 < arrivals(port, MULTICAST) < 2_200


def test_filtered_multicast_leaves_broadcast_and_arp_alone() -> None:
    port = way(Impairment(carries_multicast=False))
    assert [arrivals(port, frame, 1) for frame in (UDP, MULTICAST, BROADCAST, ARP)] == [1, 0, 1, 1]
    port = way(Impairment(carries_broadcast=False))
    assert [arrivals(port, frame, 1) for frame in (UDP, MULTICAST, BROADCAST, ARP)] == [1, 1, 0, 1]


def test_a_rate_makes_frames_wait_and_a_full_queue_drops_them() -> None:
    port = way(Impairment(rate_kbps=8, queue_frames=1))
    due = [at for _ in range(20) for at, _ in port.carry(UDP, 0.0)]
    assert due[:2] == [pytest.approx(len(UDP) / 1000), pytest.approx(2 * len(UDP) / 1000)]
    assert len(due) < 20
    assert port.counts["queue"] == 20 - len(due)


def test_delay_stays_within_its_jitter_and_some_overtake() -> None:
    port = way(Impairment(delay_ms=100, jitter_ms=20, reorder_percent=10))
    due = [at for _ in range(1000) for at, _ in port.carry(UDP, 0.0)]
    assert all(at == 0.0 or 0.08 <= at <= 0.12 for at in due)
    assert 50 < due.count(0.0) < 150


def test_damage_is_one_bit_above_the_ip_header_and_never_in_arp() -> None:
    port = way(Impairment(corrupt_percent=100))
    ((_, damaged),) = port.carry(UDP, 0.0)
    assert damaged[:34] == UDP[:34]
    assert sum((a ^ b).bit_count() for a, b in zip(damaged, UDP, strict=True)) == 1
    assert next(port.carry(ARP, 0.0))[1] == ARP


def test_what_is_too_large_or_the_port_down_disappears() -> None:
    assert arrivals(way(Impairment(mtu=50)), times=1) == 0
    assert arrivals(way(Impairment(is_up=False)), times=1) == 0


def test_some_come_twice() -> None:
    assert 10_400 < arrivals(way(Impairment(duplicate_percent=5))) < 10_600


def test_presets_are_possible() -> None:
    for impairment in (*PRESETS.values(), *LADDER.values()):
        assert impairment.jitter_ms <= impairment.delay_ms
        assert 0 <= impairment.loss_percent < 100
