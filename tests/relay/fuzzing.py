"""The whole message path without a loop or a socket, for fuzzers: bytes in, answers checked.

Run with coverage guidance by `tests/relay/fuzz_messages.py`, with hypothesis by `test_fuzz.py`.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from meshconsole.core.errors import Refused, RemoteError
from meshconsole.core.sections import RelaySection
from meshconsole.core.verdict import ACCEPTED, refuse
from meshconsole.relay.counting import count_stored
from meshconsole.relay.event import read_event, readable_id
from meshconsole.relay.happening import Closed, Counting, Negotiated, Offered, Opened, TurnedAway, Widened
from meshconsole.relay.items import ItemVector
from meshconsole.relay.judging import judge_event, vanishes_here
from meshconsole.relay.live import LiveIndex
from meshconsole.relay.negentropy import Responder
from meshconsole.relay.policy import Client, House
from meshconsole.relay.session import Session
from meshconsole.relay.store import Entry
from meshconsole.relay.verbs import receive
from tests.relay.making import NOW, Clock, Public, unsigned
from tests.relay.memory import MemoryEventStore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshconsole.relay.happening import Happening
    from meshconsole.relay.session import Subscription

PREFIXES = (
    "duplicate",
    "pow",
    "blocked",
    "rate-limited",
    "invalid",
    "restricted",
    "auth-required",
    "mute",
    "error",
    "unsupported",
    "closed",
)
HELD = [
    unsigned(content="held", tags=(("t", "x"), ("p", "ab" * 32))),
    unsigned(kind=0, content="{}"),
    unsigned(kind=30023, tags=(("d", "a:b"),)),
    unsigned(kind=1059, tags=(("p", "ab" * 32),)),
    unsigned(kind=4202),
]


class Shell:
    """Does for one session what the relay does, at once."""

    def __init__(self, **limits: Any) -> None:  # noqa: ANN401 - keys of [relay]
        config = RelaySection(**{"rate_limits": False, "max_event_bytes": 8192, **limits})
        self.house = House(Public(), config)
        self.store = MemoryEventStore(Clock())
        self.store.add(HELD)
        self.live: LiveIndex[Subscription] = LiveIndex()
        self.session = Session(
            Client(self.house), config, "challenge", lambda: None, lambda url: True, Counter()
        )

    def receive(self, message: bytes) -> list[list[Any]]:
        """What is said to one message. Raises AssertionError where an answer breaks the protocol."""
        happened = receive(self.session, message, 0.0)
        for happening in happened:
            self._carry_out(happening)
        said = [check(answer) for answer in self.session.outbox()]
        assert self.session.offered == self.session.reading == 0, "something was left without an answer"
        return said

    def _carry_out(self, happening: Happening) -> None:
        session = self.session
        match happening:
            case Offered(data, claimed):
                session.answer(claimed or readable_id(data), len(data), self._take_in(data))
            case Opened(subscription):
                self.live.add(subscription, subscription.filters)
                selection = self.store.select(subscription.filters, 100)
                session.stored(subscription, self.store.fetch(selection.keys))
                session.finish(subscription, selection.head_seq, complete=selection.complete)
            case Closed(subscription):
                self.live.remove(subscription)
            case Widened(subscription):
                self.live.add(subscription, subscription.filters)
            case Counting(_, identifier, filters):
                number, approximate, registers = count_stored(self.store, filters)
                session.counted(identifier, number, approximate=approximate, registers=registers)
            case Negotiated(negotiation, message):
                try:
                    wanted = negotiation.wanted
                    items = [] if wanted.impossible else self.store.items(wanted, 1000)
                    responder = negotiation.responder or Responder(ItemVector(items))
                    negotiation.responder = responder
                    session.negotiate(negotiation, responder.receive(message))
                except RemoteError as error:
                    session.fail_negotiation(negotiation, Refused("invalid", error.sentence))
            case TurnedAway():
                pass

    def _take_in(self, data: bytes) -> Any:  # noqa: ANN401 - a Verdict
        """As the pipeline does, but for the signature: no fuzzer finds one."""
        try:
            read = read_event(data, 8192)
        except Refused as refused:
            return refuse("invalid", refused.sentence)
        verdict = judge_event(read.event, self.session.client, NOW)
        if not verdict.accepted:
            return verdict
        (written,) = self.store.write([Entry(read.event, read.raw, vanishes_here(read.event, self.house))])
        if written.verdict is ACCEPTED:
            for subscription in self.live.wanted_by(read.event):
                self.session.deliver(subscription, written.seq, read.raw)
        return written.verdict


def check(answer: bytes) -> list[Any]:
    """The answer, if it is one that a relay may give."""
    said: list[Any] = json.loads(answer)
    match said:
        case ["OK", str(), bool(accepted), str(reason)]:
            assert accepted or _has_prefix(reason)
        case ["CLOSED", str(), str(reason)] | ["NOTICE", str(reason)]:
            assert _has_prefix(reason)
        case ["NEG-ERR", str(), str(reason), *_]:
            assert _has_prefix(reason)
        case ["EVENT", str(), {"id": str(), "sig": str()}] | ["EOSE", str()]:
            pass
        case ["EOSE", str(), ["finish"] | ["more"]] | ["COUNT", str(), {"count": int()}]:
            pass
        case ["AUTH", str()] | ["NEG-MSG", str(), str()]:
            pass
        case _:
            raise AssertionError(f"no relay says this: {said}")
    return said


def _has_prefix(reason: str) -> bool:
    code, colon, sentence = reason.partition(": ")
    return code in PREFIXES and bool(colon) and bool(sentence) and len(reason) < 1000


def feed(messages: Iterable[bytes]) -> None:
    """A session hears them all and is still of use afterwards."""
    shell = Shell()
    for message in messages:
        shell.receive(message)
    shell.session.subscriptions.clear()
    assert ["EOSE", "after", ["finish"]] in shell.receive(b'["REQ","after",{"kinds":[1],"#t":["x"]}]')
