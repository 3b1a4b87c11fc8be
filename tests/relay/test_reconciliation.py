"""The asking half of NIP-77, against a responder in memory."""

from __future__ import annotations

import json

import pytest

from meshconsole.core.errors import Refused, RemoteError
from meshconsole.relay.filter import Filter
from meshconsole.relay.items import ItemVector
from meshconsole.relay.negentropy import Responder
from meshconsole.relay.reconciliation import Reconciliation, still_needed
from meshconsole.relay.store import Item
from tests.relay.making import NOW, Clock, signed, unsigned
from tests.relay.memory import MemoryEventStore

NOTES = Filter(kinds=frozenset({1}))
OURS = [Item(n, bytes([n]) * 32) for n in range(10, 110)]
THEIRS = [Item(n, bytes([n]) * 32) for n in range(20, 140)]


def test_differences_are_yielded_until_all_is_known() -> None:
    responder = Responder(ItemVector(THEIRS))
    machine = Reconciliation("x", NOTES, ItemVector(OURS))
    have: list[str] = []
    need: list[str] = []
    rounds = 0
    while not machine.is_done:
        verb, identifier, *rest = json.loads(machine.outbox.pop(0))
        assert identifier == "x"
        assert verb == ("NEG-MSG" if rounds else "NEG-OPEN")
        if not rounds:
            assert rest[0] == {"kinds": [1]}
        answer = responder.receive(bytes.fromhex(rest[-1]))
        found = machine.receive(json.dumps(["NEG-MSG", "x", answer.hex()]).encode())
        have += found.have
        need += found.need
        rounds += 1
    assert have == [item.id.hex() for item in OURS[:10]]
    assert need == [item.id.hex() for item in THEIRS[90:]]
    assert [json.loads(message) for message in machine.outbox] == [["NEG-CLOSE", "x"]]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"{}",
        b'["EOSE","x"]',
        b'["NEG-MSG","y","61"]',
        b'["NEG-MSG","x",7]',
        b'["NEG-ERR","y","closed: "]',
    ],
)
def test_what_is_not_about_it_changes_nothing(message: bytes) -> None:
    machine = Reconciliation("x", NOTES, ItemVector(OURS))
    assert machine.receive(message) == ([], [])
    assert not machine.is_done
    assert len(machine.outbox) == 1


def test_a_refusal_ends_it() -> None:
    machine = Reconciliation("x", NOTES, ItemVector(OURS))
    with pytest.raises(Refused, match="too big") as caught:
        machine.receive(b'["NEG-ERR","x","blocked: this query is too big",5]')
    assert caught.value.code == "blocked"
    assert machine.is_done
    assert machine.receive(b'["NEG-MSG","x","6100000200"]') == ([], [])


@pytest.mark.parametrize("said", ["zz", "6", "", "00", "6100000281ffffffffffffffff7f"])
def test_a_relay_that_breaks_the_protocol_is_left(said: str) -> None:
    machine = Reconciliation("x", NOTES, ItemVector(OURS))
    with pytest.raises(RemoteError):
        machine.receive(json.dumps(["NEG-MSG", "x", said]).encode())
    assert machine.is_done


def test_what_the_store_has_settled_is_not_fetched_again() -> None:
    store = MemoryEventStore(Clock())
    held, gone = signed(content="held"), signed(content="gone")
    store.add([held, gone, signed(kind=5, tags=(("e", gone.id),), created_at=NOW + 1)])
    new = unsigned(content="new")
    assert still_needed(store, [held.id, gone.id, new.id, new.id]) == [new.id]
