"""NIP-42 on a session: who proved which keys, and what that opens."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meshconsole.core.kinds import CLIENT_AUTH
from meshconsole.core.verdict import refuse
from meshconsole.relay import session as session_module
from meshconsole.relay.verbs import auth, receive
from tests.relay.making import NOW, Members, Public, event_message, npub, raw, unsigned
from tests.relay.session_bench import CHALLENGE, HEX, URL, Bench

# --- NIP-42 ----------------------------------------------------------------------------------------


def test_a_login_opens_the_gates() -> None:
    bench = Bench(Members({npub("alice")}))
    assert bench.said() == [["AUTH", CHALLENGE]]
    bench.tell("REQ", "sub", {})
    assert bench.said() == [["CLOSED", "sub", "auth-required: say who you are"]]
    (said,) = bench.login()
    assert said[0] == "OK"
    assert said[2:] == [True, ""]
    bench.open()


def test_other_keys_stay_out() -> None:
    bench = Bench(Members({npub("alice")}))
    bench.said()
    assert bench.login("mallory")[0][2] is True
    bench.tell("REQ", "sub", {})
    assert bench.said() == [["CLOSED", "sub", "restricted: members only"]]


def test_several_keys_on_one_connection() -> None:
    bench = Bench(Members({npub("carol")}))
    bench.said()
    for name in ("alice", "bob", "carol", "alice"):
        assert bench.login(name)[0][2] is True
    assert bench.client.npubs == tuple(map(npub, ("alice", "bob", "carol")))
    bench.open()


def test_keys_on_one_connection_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "MAX_KEYS", 1)
    bench = Bench(Members())
    bench.said()
    assert bench.login("alice")[0][2] is True
    assert bench.login("bob")[0][3].startswith("restricted: ")


@pytest.mark.parametrize("at", [0, NOW + 10**9])
def test_clocks_do_not_decide_a_login(at: int) -> None:
    bench = Bench(Members())
    bench.said()
    assert bench.login(at=at)[0][2] is True


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": 1},
        {"kind": 27235},
        {"tags": (("relay", URL),)},
        {"tags": (("relay", URL), ("challenge", "older"))},
        {"tags": (("relay", URL), ("challenge", ""))},
        {"tags": (("challenge", CHALLENGE),)},
        {"tags": (("relay", ""), ("challenge", CHALLENGE))},
        {"tags": (("relay", "ws://evil.example"), ("challenge", CHALLENGE))},
    ],
)
def test_wrong_logins_are_refused(changes: dict[str, Any]) -> None:
    bench = Bench(Members())
    bench.said()
    (said,) = bench.login(**changes)
    assert said[0] == "OK"
    assert said[2] is False
    assert said[3].startswith("invalid: ")
    assert bench.client.npubs == ()


def test_a_login_needs_its_authors_signature() -> None:
    bench = Bench(Members())
    bench.said()
    event = unsigned(kind=CLIENT_AUTH, tags=(("relay", URL), ("challenge", CHALLENGE)))
    bench.tell("AUTH", json.loads(raw(event)))
    assert bench.said() == [["OK", event.id, False, "invalid: the signature is not the author's"]]


def test_a_challenge_that_was_never_sent_proves_nothing() -> None:
    bench = Bench(Public())
    assert bench.said() == []
    assert bench.login()[0][2] is False


@pytest.mark.parametrize("parts", [[], [{}, {}], [CHALLENGE], [{}]])
def test_auth_takes_one_event(parts: list[Any]) -> None:
    bench = Bench()
    bench.tell("AUTH", *parts)
    assert bench.said()[0][0] == "NOTICE"


def test_a_public_relay_challenges_only_when_it_must() -> None:
    bench = Bench()
    assert bench.said() == []
    bench.session.answer(HEX, 0, refuse("auth-required", "protected"))
    assert bench.said() == [["AUTH", CHALLENGE], ["OK", HEX, False, "auth-required: protected"]]
    bench.session.answer(HEX, 0, refuse("auth-required", "protected"))
    assert bench.said() == [["OK", HEX, False, "auth-required: protected"]]
    assert bench.login()[0][2] is True


def test_logins_are_rate_limited() -> None:
    bench = Bench(Members(), events_per_second=1)
    bench.said()
    said = [bench.login()[0] for _ in range(session_module.BURST_S + 1)]
    assert said[-1][3].startswith("rate-limited: ")


# --- trusted ---------------------------------------------------------------------------------------


def test_a_trusted_session_has_no_gates() -> None:
    bench, event = Bench(Members(), trusted=True), unsigned(kind=4201)
    assert bench.said() == []
    assert receive(bench.session, event_message(event), 0.0)
    assert bench.open("sub", {"kinds": [4201]}).filters[0].hidden == frozenset()
