"""The node's memory of its recent past: bounded, and taken over by a console as it is."""

from __future__ import annotations

import msgspec

from meshconsole.core.history import History, Track, named
from meshconsole.core.status import LinkStatus, PeerStatus
from meshconsole.node.remembering import MAX_PEERS, RATES, RTTS, Remembering
from tests.cli.falcon import STATUS


def a_peer(number: int, *rtts: float | None) -> PeerStatus:
    links = tuple(LinkStatus("websocket", "192.0.2.1:7447", 0.0, rtt) for rtt in rtts)
    return PeerStatus(f"{number:064x}", "x", "member", "up", links)


def test_a_step_keeps_its_highest() -> None:
    remembering = Remembering()
    for at, rate in enumerate((5.0, 9.0, 2.0, 7.0, 1.0, 4.0)):
        limits = msgspec.structs.replace(STATUS.limits, rate_in_bps=rate, rate_out_bps=0.0)
        remembering.sample(1190.0 + 4 * at, limits, 1_000_000 + at)
    tracks = remembering.tracks()
    rates, stored = named(tracks, "in"), named(tracks, "stored")
    assert rates == Track("in", 10.0, 1210.0, (9.0, 7.0, 4.0))
    assert stored is not None
    assert stored.values == (1_000_002.0, 1_000_005.0)  # 1,200 s is where a step begins


def test_the_best_links_round_trip_is_kept_and_who_has_none_is_not() -> None:
    remembering = Remembering()
    remembering.sample_peers(60.0, (a_peer(1, 80.0, 7.0, None), a_peer(2), a_peer(3, None)))
    assert remembering.tracks()[3:] == (Track("rtt", 30.0, 60.0, (7.0,), f"{1:064x}"),)


def test_it_stays_small() -> None:
    remembering = Remembering()
    for at in range(RATES + 50):
        remembering.sample(10.0 * at, STATUS.limits, at)
    for at in range(RTTS + 5):
        remembering.sample_peers(30.0 * at, tuple(a_peer(n, 1.0) for n in range(MAX_PEERS + 20)))
    tracks = remembering.tracks()
    assert len(tracks) == 3 + MAX_PEERS
    assert max(len(track.values) for track in tracks) == RATES
    assert len(msgspec.msgpack.encode(tracks)) < 200_000


def test_a_history_goes_on_where_another_ends() -> None:
    mine, theirs = History(2.0), History(10.0)
    for at in (100.0, 110.0, 120.0):
        theirs.put(at, at)
    mine.resume(theirs.track("in"))
    mine.put(125.0, 130.0)
    mine.put(141.0, 1.0)
    assert list(mine.values) == [100.0, 110.0, 130.0, 130.0, 1.0]
