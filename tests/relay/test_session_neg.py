"""The session machine: NEG-OPEN, NEG-MSG and NEG-CLOSE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from meshconsole.core.errors import Refused
from meshconsole.core.kinds import TEAM_KINDS, TEAM_NOTE
from meshconsole.relay.happening import Negotiated, Opened
from meshconsole.relay.items import ItemVector
from meshconsole.relay.negentropy import Responder
from meshconsole.relay.verbs import neg, receive
from tests.relay.making import Members, npub
from tests.relay.session_bench import Bench

if TYPE_CHECKING:
    from meshconsole.relay.session import Negotiation

FIRST = "6100000200"


def opened(bench: Bench, identifier: str = "n", **wanted: object) -> Negotiation:
    (happening,) = bench.tell("NEG-OPEN", identifier, wanted, FIRST)
    assert isinstance(happening, Negotiated)
    assert happening.message.hex() == FIRST
    return happening.negotiation


def answered(bench: Bench, negotiation: Negotiation, answer: bytes = b"\x61") -> None:
    negotiation.responder = negotiation.responder or Responder(ItemVector(()))
    bench.session.negotiate(negotiation, answer)
    bench.said()


def error(bench: Bench) -> Any:  # noqa: ANN401 - any JSON
    (said,) = [message for message in bench.said() if message[0] != "AUTH"]
    assert said[0] == "NEG-ERR"
    return said[2]


def test_a_negotiation_from_open_to_close() -> None:
    bench = Bench()
    negotiation = opened(bench, kinds=[1])
    assert negotiation.wanted.kinds == frozenset({1})
    assert negotiation.wanted.hidden == TEAM_KINDS, "narrowed like a REQ"
    assert bench.session.reading == 1
    bench.session.negotiate(negotiation, b"\x61\x01")
    assert bench.said() == [["NEG-MSG", "n", "6101"]]
    assert bench.session.reading == 0
    (happening,) = bench.tell("NEG-MSG", "n", "61")
    assert happening == Negotiated(negotiation, b"\x61")
    answered(bench, negotiation)
    assert bench.tell("NEG-CLOSE", "n") == []
    assert (negotiation.closed, bench.session.negotiations, bench.said()) == (True, {}, [])


def test_ids_are_a_namespace_of_their_own() -> None:
    bench = Bench()
    negotiation = opened(bench, "same")
    (happening,) = bench.tell("REQ", "same", {})
    assert isinstance(happening, Opened)
    bench.tell("CLOSE", "same")
    assert not negotiation.closed
    bench.tell("NEG-CLOSE", "same")
    assert negotiation.closed


def test_opening_again_replaces() -> None:
    bench = Bench()
    first = opened(bench)
    second = opened(bench)
    bench.session.negotiate(first, b"\x61")
    assert bench.said() == [], "nothing is said for what was replaced"
    bench.session.negotiate(second, b"\x61")
    assert bench.said() == [["NEG-MSG", "n", "61"]]


def test_a_refused_opening_replaces_too() -> None:
    bench = Bench()
    first = opened(bench)
    bench.tell("NEG-OPEN", "n", {"kinds": "x"}, FIRST)
    assert first.closed
    assert error(bench).startswith("invalid: ")


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        (("n",), "invalid"),
        (("n", {}), "invalid"),
        (("n", {}, FIRST, 32), "invalid"),
        (("n", {}, 7), "invalid"),
        (("n", {}, "6"), "invalid"),
        (("n", {}, "61 00"), "invalid"),
        (("n", {}, "zz"), "invalid"),
        (("n", {}, "\ud83d\ude00"), "invalid"),
        (("n", [], FIRST), "invalid"),
        (("n", {"kinds": [TEAM_NOTE]}, FIRST), "restricted"),
        (("n", {"nonsense": 1}, FIRST), "unsupported"),
    ],
)
def test_bad_openings_are_refused(parts: tuple[object, ...], code: str) -> None:
    bench = Bench()
    assert bench.tell("NEG-OPEN", *parts) == []
    assert error(bench).startswith(f"{code}: ")
    assert bench.session.negotiations == {}


@pytest.mark.parametrize("identifier", ["", "x" * 65, 7, None])
@pytest.mark.parametrize("verb", ["NEG-OPEN", "NEG-MSG", "NEG-CLOSE"])
def test_ids_have_1_to_64_characters(verb: str, identifier: object) -> None:
    bench = Bench()
    assert bench.tell(verb, identifier, {}, FIRST) == []
    (said,) = bench.said()
    assert said[0] == "NOTICE"


def test_strangers_must_log_in_and_removed_members_go_no_further() -> None:
    members = Members({npub("alice")})
    bench = Bench(members)
    bench.tell("NEG-OPEN", "n", {}, FIRST)
    assert error(bench).startswith("auth-required: ")
    bench.session.client.npubs = (npub("alice"),)
    negotiation = opened(bench)
    answered(bench, negotiation)
    members.npubs.clear()
    assert bench.tell("NEG-MSG", "n", "61") == []
    assert error(bench).startswith("restricted: ")
    assert negotiation.closed


def test_one_message_at_a_time() -> None:
    bench = Bench()
    negotiation = opened(bench)
    assert bench.tell("NEG-MSG", "n", "61") == []
    assert error(bench).startswith("invalid: wait")
    assert negotiation.closed


def test_what_is_not_open_cannot_go_on() -> None:
    bench = Bench()
    assert bench.tell("NEG-MSG", "n", "61") == []
    assert error(bench).startswith("closed: ")


@pytest.mark.parametrize("message", ["6", "zz", 7, None])
def test_a_message_that_is_not_hex_ends_it(message: object) -> None:
    bench = Bench()
    negotiation = opened(bench)
    answered(bench, negotiation)
    assert bench.tell("NEG-MSG", "n", message) == []
    assert error(bench).startswith("invalid: ")
    assert negotiation.closed


def test_few_at_once_on_one_connection() -> None:
    bench = Bench()
    for n in range(neg.MAX_NEGOTIATIONS):
        opened(bench, str(n))
    bench.tell("NEG-OPEN", "more", {}, FIRST)
    assert error(bench).startswith("rate-limited: ")
    opened(bench, "0")
    bench.tell("NEG-CLOSE", "0")
    opened(bench, "more")


def test_openings_count_as_requests() -> None:
    bench = Bench(events_per_second=1)
    for n in range(5):
        bench.tell("NEG-OPEN", str(n % 2), {}, FIRST)
    assert error(bench).startswith("rate-limited: ")


def test_what_is_not_used_ends() -> None:
    bench = Bench()
    (happening,) = receive(bench.session, b'["NEG-OPEN","n",{},"61"]', 100.0)
    assert isinstance(happening, Negotiated)
    neg.end_idle(bench.session, 100.0 + neg.IDLE_S)
    assert bench.session.negotiations, "it is being answered"
    answered(bench, happening.negotiation)
    neg.end_idle(bench.session, 99.0 + neg.IDLE_S)
    assert bench.session.negotiations
    neg.end_idle(bench.session, 100.0 + neg.IDLE_S)
    assert error(bench).startswith("closed: ")
    assert bench.session.negotiations == {}


def test_failures_reach_the_client_once() -> None:
    bench = Bench()
    negotiation = opened(bench)
    bench.session.fail_negotiation(negotiation, Refused("blocked", "more than 5"), 5)
    bench.session.fail_negotiation(negotiation, Refused("error", "again"))
    bench.session.negotiate(negotiation, b"\x61")
    assert bench.said() == [["NEG-ERR", "n", "blocked: more than 5", 5]]


def test_the_end_of_the_connection_ends_it() -> None:
    bench = Bench()
    negotiation = opened(bench)
    bench.session.end()
    bench.session.negotiate(negotiation, b"\x61")
    assert negotiation.closed
    assert bench.said() == []
