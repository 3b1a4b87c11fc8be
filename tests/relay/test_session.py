"""The session machine: messages, EVENT, REQ and CLOSE."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.kinds import TEAM_KINDS
from meshconsole.core.sections import RelaySection
from meshconsole.core.verdict import ACCEPTED, refuse
from meshconsole.relay import messages
from meshconsole.relay import session as session_module
from meshconsole.relay.filter import Filter
from meshconsole.relay.happening import Closed, Offered, Opened, TurnedAway
from meshconsole.relay.verbs import asking, receive
from tests.relay.making import Members, event_message, npub, raw, unsigned
from tests.relay.session_bench import CHALLENGE, HEX, Bench

# --- messages --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"x",
        b"{}",
        b"[]",
        b"[1]",
        b"[null]",
        b'"EVENT"',
        b"\xff",
        b"[" * 100_000,
        b'["EVENT"',
        b'["\xff"]',
    ],
)
def test_what_is_no_message_gets_a_notice(message: bytes) -> None:
    bench = Bench()
    assert receive(bench.session, message, 0.0) == []
    (said,) = bench.said()
    assert said[0] == "NOTICE"
    assert said[1].startswith("invalid: ")


def test_unknown_verbs_get_a_notice() -> None:
    bench = Bench()
    assert bench.tell("NEG-WHAT", "x") == []
    assert bench.said() == [["NOTICE", 'unsupported: this verb is not known here: "NEG-WHAT"']]


@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_no_message_makes_it_fail(message: bytes) -> None:
    bench = Bench()
    for begin in (b"", b'["REQ",', b'["EVENT",', b'["AUTH",', b'["CLOSE",', b'["NEG-OPEN",', b'["NEG-MSG",'):
        receive(bench.session, begin + message, 0.0)
        receive(bench.session, begin + message + b"]", 0.0)


def test_wake_is_called_when_the_outbox_stops_being_empty() -> None:
    bench = Bench()
    bench.tell("CLOSE")
    bench.tell("CLOSE")
    assert bench.wakes == 1
    assert len(bench.said()) == 2
    bench.tell("CLOSE")
    assert bench.wakes == 2


def test_the_outbox_is_taken_in_pieces() -> None:
    bench = Bench()
    for _ in range(5):
        bench.tell("CLOSE")
    size = bench.session.unsent // 5
    assert len(bench.session.outbox(size + 1)) == 2
    assert bench.session.unsent == 3 * size
    assert len(bench.session.outbox(1)) == 1
    assert len(bench.session.outbox(3 * size)) == 2
    assert bench.session.unsent == 0
    assert bench.session.outbox(10) == []


def test_after_the_end_nothing_is_said() -> None:
    bench = Bench()
    subscription = bench.follow()
    reading = bench.open("other")
    assert set(bench.session.end()) == {subscription, reading}
    bench.session.deliver(subscription, 1, b"{}")
    bench.session.stored(reading, [b"{}"])
    bench.session.finish(reading, 0)
    bench.session.answer("id", 0, ACCEPTED)
    assert bench.said() == []
    assert bench.wakes == 1


# --- EVENT -----------------------------------------------------------------------------------------


def test_an_event_is_offered_and_answered() -> None:
    bench, event = Bench(), unsigned()
    assert receive(bench.session, event_message(event), 0.0) == [Offered(raw(event), event.id)]
    assert bench.said() == []
    assert bench.session.offered == 1
    assert bench.session.offered_bytes == len(raw(event))
    bench.session.answer(event.id, len(raw(event)), ACCEPTED)
    assert bench.said() == [["OK", event.id, True, ""]]
    assert (bench.session.offered, bench.session.offered_bytes) == (0, 0)


@pytest.mark.parametrize("identifier", ["ab" * 32, "", 'a"b', "é1", "\\", "a\n"])
def test_an_acceptance_is_json_whatever_the_id_is(identifier: str) -> None:
    assert json.loads(messages.ok(identifier, ACCEPTED)) == ["OK", identifier, True, ""]


def test_a_refusal_has_its_prefix() -> None:
    bench = Bench()
    bench.session.answer(HEX, 0, refuse("blocked", "no"))
    assert bench.said() == [["OK", HEX, False, "blocked: no"]]


def test_an_event_without_a_readable_id_gets_a_notice() -> None:
    bench = Bench()
    bench.session.answer(None, 0, refuse("invalid", "no id"))
    assert bench.said() == [["NOTICE", "invalid: no id"]]


@pytest.mark.parametrize("parts", [[], [{}, {}]])
def test_event_takes_one_event(parts: list[Any]) -> None:
    bench = Bench()
    assert all(isinstance(happening, TurnedAway) for happening in bench.tell("EVENT", *parts))
    assert bench.said()[0][0] == "NOTICE"


def test_events_that_are_too_large_are_not_even_read() -> None:
    bench = Bench(max_event_bytes=1024)
    event = unsigned(content="x" * 2000)
    (turned_away,) = receive(bench.session, event_message(event), 0.0)
    assert isinstance(turned_away, TurnedAway)
    assert turned_away[:2] == (event.id, len(raw(event)))
    assert bench.said() == [["OK", event.id, False, "invalid: the event is larger than 1024 bytes"]]
    assert bench.session.offered == 0


def test_events_are_rate_limited_per_connection() -> None:
    bench, event = Bench(events_per_second=1), unsigned()
    taken = 0
    while isinstance(receive(bench.session, event_message(event), 0.0)[0], Offered):
        taken += 1
    assert taken == session_module.BURST_S
    assert bench.said() == [["OK", event.id, False, "rate-limited: at most 1 events per second"]]
    assert isinstance(receive(bench.session, event_message(event), 2.5)[0], Offered)


def test_the_rate_limit_can_be_switched_off_and_on_at_run_time() -> None:
    bench, event = Bench(events_per_second=1, rate_limits=False), unsigned()
    assert {type(receive(bench.session, event_message(event), 0.0)[0]) for _ in range(99)} == {Offered}
    bench.session.apply(RelaySection(events_per_second=1))
    answers = [receive(bench.session, event_message(event), 0.0) for _ in range(99)]
    assert isinstance(answers[-1][0], TurnedAway)


def test_the_write_gate_comes_before_any_work() -> None:
    bench, event = Bench(Members({npub("alice")})), unsigned()
    assert bench.said() == [["AUTH", CHALLENGE]]
    (turned_away,) = receive(bench.session, event_message(event), 0.0)
    assert isinstance(turned_away, TurnedAway)
    assert turned_away.verdict.code == "auth-required"
    assert bench.said() == [["OK", event.id, False, "auth-required: say who you are"]]


# --- REQ and CLOSE ---------------------------------------------------------------------------------


def test_a_req_opens_a_subscription() -> None:
    bench = Bench()
    subscription = bench.open("sub", {"kinds": [1]}, {"ids": [HEX], "limit": 5})
    assert subscription.filters == (
        Filter(kinds=frozenset({1}), hidden=TEAM_KINDS),
        Filter(ids=frozenset({HEX}), limit=5, hidden=TEAM_KINDS, addressed=frozenset()),
    )
    assert bench.session.reading == 1
    bench.session.stored(subscription, [b'{"a":1}', b'{"b":2}'])
    bench.session.finish(subscription, 9)
    assert bench.said() == [["EVENT", "sub", {"a": 1}], ["EVENT", "sub", {"b": 2}], ["EOSE", "sub"]]
    assert bench.session.reading == 0


def test_stored_bytes_are_sent_verbatim() -> None:
    bench = Bench()
    subscription = bench.open('a "b"')
    bench.session.stored(subscription, [b'{ "odd" :1}'])
    assert bench.session.outbox() == [b'["EVENT","a \\"b\\"",{ "odd" :1}]']


@pytest.mark.parametrize("name", ["x", "x" * 64, "é" * 64, '"', "\x00", " "])
def test_subscription_ids_have_1_to_64_characters(name: str) -> None:
    assert Bench().open(name).id == name


@pytest.mark.parametrize("name", ["", "x" * 65])
def test_other_subscription_ids_are_closed(name: str) -> None:
    bench = Bench()
    assert bench.tell("REQ", name, {}) == []
    assert bench.said() == [["CLOSED", name, "invalid: a subscription id has 1 to 64 characters"]]
    assert bench.session.subscriptions == {}


@pytest.mark.parametrize("parts", [[], [1, {}], [None, {}], [["x"], {}], ["x" * 5000, {}]])
def test_a_req_without_a_usable_id_gets_a_notice(parts: list[Any]) -> None:
    bench = Bench()
    assert bench.tell("REQ", *parts) == []
    (said,) = bench.said()
    assert said[0] == "NOTICE"
    assert len(said[1]) < 200


@pytest.mark.parametrize(
    ("filters", "prefix"),
    [
        ([], "invalid: "),
        ([1], "invalid: "),
        ([{"ids": ["short"]}], "invalid: "),
        ([{}, {"kinds": "x"}], "invalid: "),
        ([{"#tt": ["x"]}], "unsupported: "),
        ([{}] * 33, "invalid: "),
        ([{"kinds": [4201]}], "restricted: "),
    ],
)
def test_a_req_that_is_refused_is_closed_with_a_prefix(filters: list[Any], prefix: str) -> None:
    bench = Bench()
    assert bench.tell("REQ", "sub", *filters) == []
    (said,) = bench.said()
    assert said[:2] == ["CLOSED", "sub"]
    assert said[2].startswith(prefix)
    assert bench.session.subscriptions == {}


@pytest.mark.parametrize("broken", [b'["REQ","s",{"a":]', b'["REQ","s",{"#t":["\xff"]}]', b'["REQ","s",{]]'])
def test_broken_filters_are_answered(broken: bytes) -> None:
    bench = Bench()
    receive(bench.session, broken, 0.0)
    assert bench.said()[0][0] in ("CLOSED", "NOTICE")


def test_a_second_req_replaces_the_first() -> None:
    bench = Bench()
    first = bench.follow()
    happened = bench.tell("REQ", "sub", {"kinds": [7]})
    assert isinstance(happened[0], Closed)
    assert happened[0].subscription is first
    assert isinstance(happened[1], Opened)
    bench.session.deliver(first, 5, b"{}")
    bench.session.stored(first, [b"{}"])
    bench.session.finish(first, 5)
    assert bench.said() == []
    assert bench.session.subscriptions["sub"].filters[0].kinds == frozenset({7})


def test_a_refused_req_ends_what_it_would_have_replaced() -> None:
    bench = Bench()
    first = bench.follow()
    assert bench.tell("REQ", "sub", {"kinds": "x"}) == [Closed(first)]
    assert bench.said()[0][0] == "CLOSED"
    assert bench.session.subscriptions == {}


def test_close_ends_quietly() -> None:
    bench = Bench()
    subscription = bench.follow()
    assert bench.tell("CLOSE", "sub") == [Closed(subscription)]
    assert bench.tell("CLOSE", "sub") == []
    bench.session.deliver(subscription, 5, b"{}")
    assert bench.said() == []


def test_close_while_the_stored_part_is_read() -> None:
    bench = Bench()
    subscription = bench.open()
    bench.session.deliver(subscription, 5, b"{}")
    bench.tell("CLOSE", "sub")
    bench.session.stored(subscription, [b"{}"])
    bench.session.finish(subscription, 9)
    bench.session.fail(subscription, refuse("error", "late"))
    assert bench.said() == []
    assert bench.session.reading == 0


def test_subscriptions_are_limited() -> None:
    bench = Bench(max_subscriptions=2)
    bench.follow("a")
    bench.follow("b")
    bench.tell("REQ", "c", {})
    assert bench.said()[0][2].startswith("rate-limited: at most 2 subscriptions")
    bench.follow("b")
    bench.tell("CLOSE", "a")
    bench.follow("c")


def test_listed_values_are_limited_over_all_subscriptions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MAX_FILTER_VALUES", 5)
    bench = Bench()
    bench.open("a", {"kinds": [1, 2]}, {"#t": ["x"]})
    bench.tell("REQ", "b", {"kinds": [1, 2, 3]})
    assert bench.said()[0][2].startswith("rate-limited: at most 5 values")
    bench.open("b", {"kinds": [1, 2]})


def test_requests_are_rate_limited() -> None:
    bench = Bench(events_per_second=1, max_subscriptions=99)
    for number in range(session_module.BURST_S):
        bench.open(str(number))
    bench.tell("REQ", "more", {})
    assert bench.said() == [["CLOSED", "more", "rate-limited: at most 1 requests per second"]]
    bench.now = 3.0
    bench.open("more")


def test_messages_longer_than_told_are_not_acted_upon() -> None:
    bench = Bench(max_event_bytes=1024)
    assert bench.tell("REQ", "sub", {"#t": ["x" * 140_000]}) == []
    assert bench.said() == [["CLOSED", "sub", "invalid: this message is longer than the relay takes"]]
