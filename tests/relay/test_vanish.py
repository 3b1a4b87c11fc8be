"""NIP-62 as far as policies go: which requests mean this relay, and that nobody is kept from making one."""

from __future__ import annotations

import pytest

from meshconsole.core.sections import RelaySection
from meshconsole.relay.happening import Offered, TurnedAway
from meshconsole.relay.judging import judge_event, vanishes_here
from meshconsole.relay.lists import Lists, ban_key
from meshconsole.relay.names import names_this_relay
from meshconsole.relay.policy import Client, House
from meshconsole.relay.verbs import receive
from tests.relay.making import NOW, Members, Public, event_message, fake_npub, unsigned
from tests.relay.session_bench import Bench

URL = "wss://relay.example"
OURS = House(Members(), RelaySection(min_pow_difficulty=200, authors="self"), names_us=lambda url: url == URL)


def request(*relays: str, kind: int = 62) -> object:
    return unsigned(kind=kind, tags=tuple(("relay", relay) for relay in relays))


@pytest.mark.parametrize(
    ("relays", "expected"),
    [
        (("ALL_RELAYS",), True),
        ((URL,), True),
        (("wss://other.example", URL), True),
        (("wss://other.example",), False),
        (("all_relays",), False),
        (("All_Relays",), False),
        (("ALL_RELAYS ",), False),
        ((), False),
    ],
)
def test_only_our_url_and_all_relays_in_capitals_mean_us(relays: tuple[str, ...], *, expected: bool) -> None:
    assert vanishes_here(request(*relays), OURS) is expected  # type: ignore[arg-type]
    assert not vanishes_here(request(*relays, kind=1), OURS)  # type: ignore[arg-type]


def test_a_relay_tag_of_another_name_or_place_means_nothing() -> None:
    assert not vanishes_here(unsigned(kind=62, tags=(("r", URL), ("relay", "", URL), ("relay",))), OURS)


def test_whoever_wants_to_vanish_may_whatever_else_they_may_not() -> None:
    stranger = Client(OURS)
    assert judge_event(request(URL), stranger, NOW).accepted  # type: ignore[arg-type]
    assert judge_event(request("wss://other.example"), stranger, NOW).code == "auth-required"  # type: ignore[arg-type]
    banned = House(OURS.access, OURS.config, lambda: ban_key(Lists(), fake_npub("alice")), OURS.names_us)
    assert judge_event(request(URL), Client(banned, (fake_npub("alice"),)), NOW).accepted  # type: ignore[arg-type]


def test_a_request_that_names_no_relay_is_none() -> None:
    assert judge_event(request(), Client(House(Public())), NOW).code == "invalid"  # type: ignore[arg-type]


def test_a_request_for_another_relay_is_an_event_like_others() -> None:
    assert judge_event(request("wss://other.example"), Client(House(Public())), NOW).accepted  # type: ignore[arg-type]


def test_the_gate_lets_through_unread_what_may_be_a_request() -> None:
    bench = Bench(Members())
    bench.said()
    wish, note = unsigned(kind=62), unsigned(kind=6)
    assert isinstance(receive(bench.session, event_message(wish), 0.0)[0], Offered)
    assert isinstance(receive(bench.session, event_message(note), 0.0)[0], TurnedAway)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://localhost:7447", True),
        ("ws://localhost:7447/", True),
        ("ws://127.0.0.1:7447", True),
        ("WS://LOCALHOST:7447", True),
        ("ws://localhost:7448", False),
        ("ws://localhost", False),
        ("ws://localhost:7447/other", False),
        ("http://localhost:7447", False),
        ("localhost:7447", False),
        ("wss://relay.example", True),
        ("wss://RELAY.example:443/", True),
        ("ws://relay.example", False),
        ("wss://relay.example/x", False),
        ("wss://relay.example.evil", False),
        ("wss://hub.example/team", True),
        ("wss://hub.example/team/", True),
        ("wss://hub.example", False),
        ("ALL_RELAYS", False),
        ("", False),
        ("ws://[::1", False),
        ("ws://localhost:99999", False),
    ],
)
def test_what_cannot_be_undone_needs_an_exact_name(url: str, *, expected: bool) -> None:
    ours = ("wss://relay.example/", "wss://hub.example/team", "not a URL")
    assert names_this_relay(url, (7447,), ours) is expected


def test_who_may_not_write_cannot_fill_the_disk_with_requests() -> None:
    tags = (("relay", "ALL_RELAYS"),)
    short, long = unsigned(kind=62, tags=tags), unsigned(kind=62, tags=tags, content="x" * 4096)
    many = unsigned(kind=62, tags=(*tags, *(("relay", f"wss://{n}.example") for n in range(500))))
    stranger = Client(OURS)
    assert [judge_event(one, stranger, NOW).code for one in (short, long, many)] == ["", "invalid", "invalid"]
    writer = Client(House(Public()))
    assert judge_event(long, writer, NOW).accepted
