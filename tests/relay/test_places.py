from __future__ import annotations

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.sections import LimitsSection
from meshconsole.relay import places as module
from meshconsole.relay.places import (
    LOGIN_GRACE_S,
    MAX_NETWORKS,
    Place,
    Places,
    TurnedAway,
    client_places,
    http_answer,
    network_of,
)


def made(**limits: int) -> Places:
    return Places(LimitsSection(**limits))  # type: ignore[arg-type]


def come_in(places: Places, address: str, now: float = 0.0, kind: str = "client") -> Place:
    place = places.knock(address, now)
    assert isinstance(place, Place)
    places.enter(place, kind)
    return place


def refusal(places: Places, address: str, now: float = 0.0) -> TurnedAway:
    answer = places.knock(address, now)
    assert isinstance(answer, TurnedAway)
    return answer


@pytest.mark.parametrize(
    ("address", "network", "here"),
    [
        ("192.0.2.7", "192.0.2.7", False),
        ("127.0.0.9", "127.0.0.9", True),
        ("::1", "::1", True),
        ("::ffff:192.0.2.7", "192.0.2.7", False),
        ("::ffff:127.0.0.1", "127.0.0.1", True),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", False),
        ("fe80::1%eth0", "fe80::/64", False),
        ("", "", False),
    ],
)
def test_what_counts_as_one_source(address: str, network: str, here: bool) -> None:
    assert network_of(address) == (network, here)


def test_one_address_holds_a_bounded_number_of_places() -> None:
    places = made(max_connections_per_ip=2, new_connections_per_minute=0)
    first, _ = come_in(places, "192.0.2.1"), come_in(places, "192.0.2.1")
    answer = refusal(places, "192.0.2.1")
    assert answer.status is HTTPStatus.TOO_MANY_REQUESTS
    assert answer.verdict.message.startswith("rate-limited: at most 2 connections")
    come_in(places, "192.0.2.2")
    places.leave(first)
    come_in(places, "192.0.2.1")


def test_all_addresses_of_one_host_count_together() -> None:
    places = made(max_connections_per_ip=1)
    come_in(places, "2001:db8::1")
    refusal(places, "2001:db8::2")
    come_in(places, "2001:db8:0:1::2")


def test_unfinished_handshakes_count_too() -> None:
    places = made(max_connections_per_ip=2)
    places.knock("192.0.2.1", 0)
    places.knock("192.0.2.1", 0)
    refusal(places, "192.0.2.1")


def test_links_and_this_machine_do_not_count() -> None:
    places = made(max_connections_per_ip=1, new_connections_per_minute=2)
    for _ in range(50):
        come_in(places, "127.0.0.1")
    places = made(max_connections_per_ip=1, new_connections_per_minute=0)
    for _ in range(50):
        come_in(places, "192.0.2.1", kind="mesh")
    come_in(places, "192.0.2.1")
    refusal(places, "192.0.2.1")


def test_leaving_twice_frees_one_place() -> None:
    places = made(max_connections_per_ip=2, new_connections_per_minute=0)
    first, _ = come_in(places, "192.0.2.1"), come_in(places, "192.0.2.1")
    places.leave(first)
    places.leave(first)
    come_in(places, "192.0.2.1")
    refusal(places, "192.0.2.1")


def test_new_connections_come_at_a_bounded_rate() -> None:
    places = made(max_connections_per_ip=0, new_connections_per_minute=60)
    for _ in range(30):
        places.leave(come_in(places, "192.0.2.1"))
    answer = refusal(places, "192.0.2.1")
    assert answer.verdict.message.startswith("rate-limited: at most 60 new connections a minute")
    come_in(places, "192.0.2.2")
    come_in(places, "192.0.2.1", now=2.0)


def test_a_new_rate_holds_for_addresses_that_are_known() -> None:
    places = made(max_connections_per_ip=0, new_connections_per_minute=60)
    come_in(places, "192.0.2.1")
    places.apply(LimitsSection(max_connections_per_ip=0, new_connections_per_minute=2))
    come_in(places, "192.0.2.1")
    refusal(places, "192.0.2.1")


def test_whoever_has_the_most_unfinished_handshakes_loses_one() -> None:
    places = made(max_handshakes=4, max_connections_per_ip=0)
    honest = places.knock("192.0.2.1", 0)
    slow = [places.knock("192.0.2.66", 1 + n) for n in range(3)]
    assert places.displaced() is None
    places.knock("192.0.2.2", 9)
    displaced = places.displaced()
    assert displaced is slow[0]
    assert displaced is not honest


def test_of_equals_the_oldest_handshake_gives_way() -> None:
    places = made(max_handshakes=2)
    places.knock("192.0.2.9", 3)
    old = places.knock("192.0.2.1", 1)
    places.knock("192.0.2.5", 5)
    assert places.displaced() is old


def test_handshakes_have_a_deadline() -> None:
    places = made(handshake_timeout_s=5)
    slow, _ = places.knock("192.0.2.1", 0), come_in(places, "192.0.2.1", 0)
    later = places.knock("192.0.2.1", 3)
    assert places.overdue(4.9) == []
    assert places.overdue(5) == [slow]
    assert places.pending() == [slow, later]


def test_strangers_hold_a_share_and_the_oldest_gives_way() -> None:
    places = made(max_connections=16, max_strangers_percent=50, max_connections_per_ip=0)
    known: set[Place] = set()
    assert client_places(LimitsSection(max_connections=16)) == 12

    def is_stranger(place: Place) -> bool:
        return place not in known

    first = come_in(places, "192.0.2.1")
    known.add(first)
    strangers = [come_in(places, "192.0.2.2", now=float(n)) for n in range(5)]
    assert not places.strangers_are_many(is_stranger)
    strangers.append(come_in(places, "192.0.2.3", now=5.0))
    assert places.strangers_are_many(is_stranger)
    assert places.yielding(5.0, is_stranger) is None
    assert places.yielding(LOGIN_GRACE_S, is_stranger) is strangers[0]
    known.add(strangers[0])
    assert places.yielding(LOGIN_GRACE_S, is_stranger) is None
    assert places.yielding(LOGIN_GRACE_S + 1, is_stranger) is strangers[1]


def test_strangers_always_have_one_place() -> None:
    places = made(max_connections=1, max_strangers_percent=1)
    assert not places.strangers_are_many(lambda _: True)


def test_the_answer_is_http() -> None:
    places = made(max_connections_per_ip=1)
    come_in(places, "192.0.2.1")
    head, _, body = http_answer(refusal(places, "192.0.2.1")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert f"Content-Length: {len(body)}\r\n".encode() in head


def test_a_flood_of_addresses_is_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_NETWORKS <= 4096
    monkeypatch.setattr(module, "MAX_NETWORKS", 50)
    places = made()
    for n in range(500):
        places.leave(come_in(places, f"10.0.{n // 250}.{n % 250}"))
    assert places.networks == 50
    assert places.handshakes == 0


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["knock", "enter", "mesh", "leave"])), max_size=80)
)
def test_nothing_stays_behind(acts: list[tuple[int, str]]) -> None:
    """Whatever comes and goes in whatever order: no bound is passed, and when all have left, none is held."""
    places = made(max_connections_per_ip=3, new_connections_per_minute=0, max_handshakes=4)
    here: list[Place] = []
    for number, act in acts:
        if act == "knock":
            place = places.knock(f"192.0.2.{number}", 0)
            if isinstance(place, Place):
                here.append(place)
            if (displaced := places.displaced()) is not None:
                places.leave(displaced)
                here.remove(displaced)
        elif here:
            place = here[number % len(here)]
            if act == "leave":
                here.remove(place)
                places.leave(place)
            else:
                places.enter(place, "client" if act == "enter" else "mesh")
        assert places.handshakes <= 4
        counted = [place.network for place in here if place.counts]
        assert all(counted.count(network) <= 3 for network in counted)
    for place in here:
        places.leave(place)
    assert not places._networks
    assert not places._clients
