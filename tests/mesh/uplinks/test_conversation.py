"""What is said to a plain relay: reconciling, logging in, holding back, and not believing everything."""

from __future__ import annotations

import contextlib
import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.errors import RemoteError
from meshconsole.core.kinds import CARRIED_KINDS, TEAM_NOTE
from meshconsole.mesh.uplinks.asks import Collect, Keep, Load, Settle
from meshconsole.mesh.uplinks.conversation import ANSWER_S, BUSY_S, SLOWEST, WINDOW, Conversation
from meshconsole.relay.filter import Filter
from meshconsole.relay.items import ItemVector
from meshconsole.relay.negentropy import Responder
from tests.relay.making import npub, raw, signed

if TYPE_CHECKING:
    from meshconsole.core.event import Event

ALICE = npub("alice")
WANTED = Filter(kinds=CARRIED_KINDS, authors=frozenset({ALICE}))
NOW = 1000.0


def note(number: int) -> Event:
    return signed("alice", kind=TEAM_NOTE, content=f"note {number}", created_at=1_700_000_000 + number)


def large_note(number: int, size: int = 140_000) -> Event:
    content = f"large {number} " + "x" * size
    return signed("alice", kind=TEAM_NOTE, content=content, created_at=1_700_000_000 + number)


def large_under_way(talk: Talk) -> tuple[str, int] | None:
    return talk.machine.large_under_way


def fetches_in(messages: list[list[Any]]) -> list[list[Any]]:
    return [message for message in messages if message[0] == "REQ" and message[1] != "live"]


def sent(talk: Talk) -> list[str]:
    return [message[1]["id"] for message in talk.said() if message[0] == "EVENT"]


def vector(events: list[Event]) -> ItemVector:
    return ItemVector(sorted((event.created_at, bytes.fromhex(event.id)) for event in events))


class Talk:
    """A conversation, and a relay played by the test."""

    def __init__(self, ours: list[Event]) -> None:
        self.ours = {event.id: event for event in ours}
        self.kept: list[bytes] = []
        self.machine = Conversation(WANTED, self.prove, random.Random(1))
        self.machine.start(NOW)

    @staticmethod
    def prove(challenge: str) -> Event:
        return signed("alice", kind=22242, tags=(("challenge", challenge),))

    def hear(self, *message: object, now: float = NOW) -> None:
        self.machine.receive(json.dumps(message).encode(), now)

    def said(self) -> list[list[Any]]:
        """What it wants sent after all asks are answered."""
        machine = self.machine
        while machine.asks:
            match machine.asks.pop(0):
                case Collect():
                    machine.collected(vector(list(self.ours.values())), NOW)
                case Settle(ids):
                    machine.needed([one for one in ids if one not in self.ours], NOW)
                case Load(ids):
                    machine.loaded([raw(self.ours[one]) for one in ids], NOW)
                case Keep(taken):
                    self.kept.append(taken)
        messages = [json.loads(data) for data in machine.outbox]
        machine.outbox.clear()
        return messages

    def verbs(self) -> list[str]:
        return [message[0] for message in self.said()]


def negotiate(talk: Talk, theirs: list[Event], messages: list[list[Any]]) -> list[list[Any]]:
    """Plays the relay's part of NIP-77; returns what else was said."""
    responder = Responder(vector(theirs))
    rest: list[list[Any]] = []
    while messages:
        message = messages.pop(0)
        if message[0] in ("NEG-OPEN", "NEG-MSG"):
            answer = responder.receive(bytes.fromhex(message[-1]))
            talk.hear("NEG-MSG", message[1], answer.hex())
            messages += talk.said()
        else:
            rest.append(message)
    return rest


def negotiate_and_hold(talk: Talk) -> None:
    """The relay has nothing; what is said to it then is kept for the test."""
    rest = negotiate(talk, [], talk.said())
    talk.machine.outbox[:0] = [json.dumps(message).encode() for message in rest]


def test_each_side_gets_what_it_lacks_and_then_both_are_level() -> None:
    events = [note(number) for number in range(300)]
    talk = Talk(events[:200])
    rest = negotiate(talk, events[100:], talk.said())
    fetches = fetches_in(rest)
    assert len(fetches) == 1, "one fetch at a time"
    sub, wanted = fetches[0][1], set(fetches[0][2]["ids"])
    sent: set[str] = set()
    queue = [message for message in rest if message[0] == "EVENT"]
    while queue or wanted:
        assert len(queue) <= WINDOW
        for message in queue:
            sent.add(message[1]["id"])
            talk.hear("OK", message[1]["id"], True, "")
        for event in events:
            if event.id in wanted:
                talk.hear("EVENT", sub, json.loads(raw(event)))
        if wanted:
            talk.hear("EOSE", sub)
            talk.hear("CLOSED", sub, "")
        said = talk.said()
        queue = [message for message in said if message[0] == "EVENT"]
        fetches = fetches_in(said)
        sub, wanted = (fetches[0][1], set(fetches[0][2]["ids"])) if fetches else ("", set())
    assert sent == {event.id for event in events[:100]}
    assert {json.loads(taken)["id"] for taken in talk.kept} == {event.id for event in events[200:]}
    assert talk.machine.phase == "level"
    assert talk.machine.lag == (0, 0)


def test_what_is_new_goes_there_once_and_is_not_taken_back() -> None:
    talk = Talk([])
    negotiate(talk, [], talk.said())
    fresh = note(1)
    talk.machine.offer(fresh.id, raw(fresh), NOW)
    assert talk.verbs() == ["EVENT"]
    talk.hear("EVENT", "live", json.loads(raw(fresh)))
    talk.hear("OK", fresh.id, True, "")
    talk.machine.offer(fresh.id, raw(fresh), NOW)
    assert talk.said() == []
    assert talk.kept == []


def test_what_was_refused_until_the_login_is_said_again_after_it() -> None:
    fresh = note(1)
    talk = Talk([fresh])
    assert talk.verbs() == ["REQ", "NEG-OPEN"]
    talk.hear("CLOSED", "live", "auth-required: who are you?")
    talk.hear("NEG-ERR", "sync", "auth-required: who are you?")
    talk.hear("AUTH", "a challenge")
    (proof,) = talk.said()
    assert proof[0] == "AUTH"
    assert ["challenge", "a challenge"] in proof[1]["tags"]
    talk.hear("OK", proof[1]["id"], True, "")
    assert talk.verbs() == ["REQ", "NEG-OPEN"]


def test_a_relay_that_does_not_let_us_in_is_shown_as_that() -> None:
    talk = Talk([])
    talk.said()
    talk.hear("AUTH", "x")
    (proof,) = talk.said()
    talk.hear("OK", proof[1]["id"], False, "restricted: members only")
    assert talk.machine.phase == "refused"
    assert "members only" in talk.machine.trouble


@pytest.mark.parametrize("by", ["notice", "silence"])
def test_a_relay_without_reconciliation_gets_and_gives_what_is_new(by: str) -> None:
    talk = Talk([note(1)])
    talk.said()
    if by == "notice":
        talk.hear("NOTICE", "unknown command NEG-OPEN")
    else:
        talk.machine.handle_timer(NOW + ANSWER_S + 1)
    assert "NIP-77" in talk.machine.trouble
    assert talk.machine.phase == "following"
    talk.machine.offer(note(2).id, raw(note(2)), NOW)
    assert talk.verbs() == ["EVENT"]


def test_an_event_that_was_refused_for_now_is_sent_later_and_one_refused_for_good_never() -> None:
    talk = Talk([])
    negotiate(talk, [], talk.said())
    busy, unwanted = note(1), note(2)
    for event in (busy, unwanted):
        talk.machine.offer(event.id, raw(event), NOW)
    talk.said()
    talk.hear("OK", busy.id, False, "rate-limited: slow down")
    talk.hear("OK", unwanted.id, False, "blocked: too large")
    assert talk.said() == []
    assert talk.machine.refused == 1
    talk.machine.handle_timer(NOW + BUSY_S)
    assert [message[1]["id"] for message in talk.said()] == [busy.id]


def test_a_fetch_that_is_closed_is_made_again_by_comparing_soon() -> None:
    talk = Talk([])
    rest = negotiate(talk, [note(1)], talk.said())
    ((_, sub, _),) = fetches_in(rest)
    talk.hear("CLOSED", sub, "error: too many subscriptions")
    assert "too many subscriptions" in talk.machine.trouble
    assert talk.machine.phase != "refused"
    talk.machine.handle_timer(NOW + BUSY_S)
    assert fetches_in(negotiate(talk, [note(1)], talk.said()))


def test_a_large_event_goes_last_and_alone() -> None:
    two, small = {event.id for event in (large_note(1), large_note(2))}, note(3)
    talk = Talk([large_note(1), large_note(2), small])
    negotiate_and_hold(talk)
    assert sent(talk) == [small.id]
    assert large_under_way(talk) is None
    talk.hear("OK", small.id, True, "")
    (first,) = sent(talk)
    assert first in two
    assert large_under_way(talk) == (first, len(raw(large_note(1))))
    fresh = note(4)
    talk.machine.offer(fresh.id, raw(fresh), NOW)
    assert sent(talk) == [], "if the connection ends now, it is known by which"
    assert talk.machine.lag == (0, 3)
    talk.hear("OK", first, True, "")
    assert sent(talk) == [fresh.id]
    talk.hear("OK", fresh.id, True, "")
    assert sent(talk) == list(two - {first})
    talk.machine.handle_timer(NOW + ANSWER_S)
    assert (talk.machine.lag, talk.machine.sent, talk.machine.refused) == ((0, 0), 3, 1)
    assert large_under_way(talk) is None


def test_a_large_event_has_the_time_that_a_slow_way_needs() -> None:
    talk = Talk([large_note(1, 400_000)])
    negotiate_and_hold(talk)
    assert len(sent(talk)) == 1
    talk.machine.handle_timer(NOW + ANSWER_S)
    assert talk.machine.refused == 0
    due = talk.machine.next_timer()
    assert due is not None
    assert due > NOW + 400_000 / SLOWEST
    talk.machine.handle_timer(due)
    assert talk.machine.refused == 1


def test_what_is_known_to_be_too_large_is_not_sent_and_said() -> None:
    talk = Talk([large_note(1), note(2)])
    talk.machine.too_large = 100_000
    negotiate_and_hold(talk)
    assert sent(talk) == [note(2).id]
    talk.hear("OK", note(2).id, True, "")
    assert sent(talk) == []
    assert talk.machine.trouble == "It takes no event of 140 kB."
    assert (talk.machine.phase, talk.machine.refused) == ("level", 1)


def test_a_relay_that_repeats_an_event_costs_nothing() -> None:
    talk = Talk([])
    talk.said()
    for _ in range(500):
        talk.hear("EVENT", "live", json.loads(raw(note(1))))
    assert len(talk.machine.asks) == 1


@pytest.mark.parametrize("garbage", [b"", b"{}", b"[]", b"[1]", b'["OK"', b"\xff", b'"x"', b"[" * 5000])
def test_what_is_no_message_ends_the_conversation_in_words(garbage: bytes) -> None:
    talk = Talk([])
    with pytest.raises(RemoteError):
        talk.machine.receive(garbage, NOW)


def test_strange_messages_of_the_right_form_mean_nothing() -> None:
    talk = Talk([])
    talk.said()
    for message in (
        ["EVENT", "other", {}],
        ["EVENT", "live", {}],
        ["OK", 1, True],
        ["OK", "x"],
        ["EOSE"],
        ["NEG-MSG", "other", "61"],
        ["CLOSED", "other", "no"],
        ["WHAT", "is", "this"],
        ["NOTICE", 7],
    ):
        talk.hear(*message)
    assert talk.said() == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
verbs = st.sampled_from(["EVENT", "OK", "EOSE", "CLOSED", "AUTH", "NEG-MSG", "NEG-ERR", "NOTICE", "X"])
words = st.sampled_from(["live", "fetch1", "sync"]) | json_values


@given(st.lists(st.tuples(verbs, st.lists(words, max_size=4)), max_size=8))
def test_no_sequence_of_messages_breaks_it(messages: list[tuple[str, list[object]]]) -> None:
    talk = Talk([note(1)])
    talk.said()
    for verb, rest in messages:
        with contextlib.suppress(RemoteError):
            talk.hear(verb, *rest)
        talk.said()
