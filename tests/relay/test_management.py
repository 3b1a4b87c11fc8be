"""NIP-86 calls: what they change, what they answer."""

from __future__ import annotations

import json

import msgspec
import pytest

from meshconsole.core.errors import Refused
from meshconsole.relay.lists import Lists
from meshconsole.relay.management import (
    METHODS,
    Call,
    Outcome,
    answer,
    carry_out,
    changes,
    failure,
    read_call,
    subject,
)
from tests.relay.making import fake_npub

ALICE = fake_npub("alice")
BOB = fake_npub("bob")


def call(lists: Lists, method: str, *params: object, reported: dict[str, str] | None = None) -> Outcome:
    body = msgspec.json.encode({"method": method, "params": params})
    return carry_out(read_call(body), lists, reported or {})


def after(*calls: tuple[object, ...]) -> Lists:
    lists = Lists()
    for method, *params in calls:
        outcome = call(lists, str(method), *params)
        assert outcome.result is True
        assert changes(str(method))
        lists = outcome.lists
    return lists


@pytest.mark.parametrize(
    ("calls", "question", "expected"),
    [
        ([("banpubkey", ALICE, "spam"), ("banpubkey", BOB)], "listbannedpubkeys",
         [{"pubkey": ALICE, "reason": "spam"}, {"pubkey": BOB}]),
        ([("banpubkey", ALICE), ("unbanpubkey", ALICE)], "listbannedpubkeys", []),
        ([("banpubkey", ALICE), ("allowpubkey", ALICE, None)], "listallowedpubkeys", [{"pubkey": ALICE}]),
        ([("banpubkey", ALICE), ("allowpubkey", ALICE)], "listbannedpubkeys", []),
        ([("allowpubkey", ALICE), ("unallowpubkey", ALICE)], "listallowedpubkeys", []),
        ([("banevent", ALICE, "rude")], "listbannedevents", [{"id": ALICE, "reason": "rude"}]),
        ([("banevent", ALICE), ("unbanevent", ALICE)], "listbannedevents", []),
        ([("allowevent", ALICE)], "listallowedevents", [{"id": ALICE}]),
        ([("allowevent", ALICE), ("unallowevent", ALICE)], "listallowedevents", []),
        ([("allowkind", 7), ("allowkind", 1)], "listallowedkinds", [1, 7]),
        ([("disallowkind", 7)], "listdisallowedkinds", [7]),
        ([("blockip", "10.0.0.1", "flood")], "listblockedips", [{"ip": "10.0.0.1", "reason": "flood"}]),
        ([("blockip", "10.0.0.1"), ("unblockip", "10.0.0.1")], "listblockedips", []),
    ],
)  # fmt: skip
def test_lists(calls: list[tuple[object, ...]], question: str, expected: list[object]) -> None:
    lists = after(*calls)
    told = call(lists, question)
    assert told.result == expected
    assert told.lists is lists
    assert not changes(question)


def test_the_face() -> None:
    lists = after(("changerelayname", "Hut"), ("changerelaydescription", "Up"), ("changerelayicon", ""))
    assert (lists.name, lists.description) == ("Hut", "Up")


def test_supported_methods_are_those_that_work() -> None:
    assert call(Lists(), "supportedmethods").result == METHODS
    for method in METHODS:
        try:
            call(Lists(), method)
        except Refused as refused:
            assert refused.code == "invalid", method  # noqa: PT017 - it lacks its params
    assert "createrole" not in METHODS
    assert "supportedmethods" not in METHODS, "all the other ones (NIP-86)"


def test_reported_events_wait_until_somebody_judged_them() -> None:
    one, other, third = "1" * 64, "2" * 64, "3" * 64
    lists = after(("banevent", one), ("allowevent", other))
    told = call(lists, "listeventsneedingmoderation", reported={one: "", other: "", third: "spam"})
    assert told.result == [{"id": third, "reason": "spam"}]


@pytest.mark.parametrize("method", ["createrole", "editrole", "deleterole", "assignrole", "unassignrole"])
def test_roles_stay_with_the_roster(method: str) -> None:
    with pytest.raises(Refused, match="team") as caught:
        call(Lists(), method, ALICE, "admin")
    assert caught.value.code == "restricted"


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("nonsense", [], "unsupported"),
        ("banpubkey", [], "invalid"),
        ("banpubkey", [7], "invalid"),
        ("banpubkey", [ALICE, 7], "invalid"),
        ("banpubkey", ["nobody"], "invalid"),
        ("allowkind", ["1"], "invalid"),
        ("allowkind", [True], "invalid"),
        ("allowkind", [1.5], "invalid"),
        ("changerelayname", [None], "invalid"),
    ],
)
def test_nonsense_is_refused(method: str, params: list[object], code: str) -> None:
    with pytest.raises(Refused) as caught:
        carry_out(Call(method, params), Lists(), {})
    assert caught.value.code == code


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"method":7}', b'{"method":"x","params":{}}', b"[" * 9999]
)
def test_what_is_no_call_is_refused(body: bytes) -> None:
    with pytest.raises(Refused):
        read_call(body)


def test_answers() -> None:
    assert json.loads(answer([1])) == {"result": [1]}
    assert json.loads(failure("No.")) == {"result": None, "error": "No."}
    assert subject(Call("x", [ALICE])) == ALICE
    assert subject(Call("x")) == ""
