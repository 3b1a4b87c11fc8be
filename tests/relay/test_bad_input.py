"""Whatever a client sends gets a proper refusal, in bounded time, and hurts nobody else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meshconsole.relay.filter import parse_filter
from meshconsole.relay.verbs import receive
from tests.relay.making import NOW, raw, signed
from tests.relay.relay_bench import bench as relay_bench
from tests.relay.session_bench import HEX, Bench

GOOD = raw(signed())
ID = signed().id


def told(message: bytes) -> list[Any]:
    """What a fresh session says to one message that it does not pass on."""
    bench = Bench()
    for happening in receive(bench.session, message, 0.0):
        assert type(happening).__name__ == "TurnedAway"
    (said,) = bench.said()
    assert isinstance(said, list)
    return said


# --- Messages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        b'["REQ","s",{}',
        b'["REQ","s",{"a":}]',
        b'["REQ","s",{}]]',
        b'[ "REQ" , "s" , {"#t":["\\ud800"]} ]',
        b'["REQ","s",{"#t":["\xff"]}]',
        b'["REQ","s",' + b"[" * 100_000,
        b'["REQ","s",' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"]",
        b'["REQ","s",' + b"1" * 200_000 + b"]",
        b'["REQ","s",{"#t":["' + b"x" * 140_000 + b'"]}]',
        b'["REQ","s",{"limit":1e400}]',
        b'["REQ","s"]',
        b'["REQ","s",null]',
        b'["REQ","s",[]]',
        b'["REQ","s","{}"]',
        b'["REQ","s",{},5]',
        b'["COUNT","s",{}',
        b'["COUNT","s",' + b"[" * 100_000,
        b'["COUNT","s",{"#t":["' + b"x" * 140_000 + b'"]}]',
    ],
)
def test_a_question_whose_id_can_be_read_is_closed(message: bytes) -> None:
    closed, name, reason = told(message)
    assert (closed, name) == ("CLOSED", "s")
    assert reason.startswith("invalid: ")
    assert len(reason) < 200


@pytest.mark.parametrize(
    "message",
    [
        b'["EVENT",' + GOOD[:-1],
        b'["EVENT",' + GOOD + b"]]",
        b'["EVENT",' + GOOD + b",1]",
        b'["EVENT",' + GOOD.replace(b'"hello"', b'"\\ud800"') + b"]",
        b'["EVENT",' + GOOD[:-1] + b',"x":' + b"[" * 100_000,
    ],
)
def test_an_event_whose_id_can_be_read_gets_an_ok_even_if_the_message_is_none(message: bytes) -> None:
    ok, name, accepted, reason = told(message)
    assert (ok, name, accepted) == ("OK", ID, False)
    assert reason.startswith("invalid: ")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x00",
        b"\xff\xfe",
        b"null",
        b"{}",
        b"[]",
        b"[1]",
        b"[null,null]",
        b'[["REQ"]]',
        b'"REQ"',
        b'["\\ud800"]',
        b'["REQ\\ud800","s",{}]',
        b'["REQ"]',
        b'["REQ",5,{}]',
        b'["REQ","\\ud800",{}]',
        b'["REQ",null,{}]',
        b'["REQ",["s"],{}]',
        b'["CLOSE"]',
        b'["CLOSE",5]',
        b'["CLOSE",""]',
        b'["COUNT",5,{}]',
        b'["EVENT"]',
        b'["EVENT",',
        b'["AUTH"]',
        b'["AUTH","challenge"]',
        b'["req","s",{}]',
        b'["EOSE","s"]',
        b'["' + b"x" * 100_000 + b'"]',
        b'["' + b"X" * 100_000,
        b'["REQ","' + b"\\" * 100_000,
        b'["REQ","' + b'\\"' * 100_000,
        b"[" * 1_000_000,
        b'{"a":' * 200_000,
        b"[" + b"1," * 200_000,
        b"-" * 100_000,
    ],
)
def test_whatever_else_is_wrong_gets_a_notice_with_a_prefix(message: bytes) -> None:
    notice, reason = told(message)
    assert notice == "NOTICE"
    assert reason.startswith(("invalid: ", "unsupported: "))
    assert len(reason) < 200


def test_an_unknown_subscription_is_closed_without_a_word() -> None:
    bench = Bench()
    assert bench.tell("CLOSE", "unknown") == []
    assert bench.said() == []


def test_subscription_ids_are_per_connection() -> None:
    one, other = Bench(), Bench()
    one.follow("s")
    other.tell("CLOSE", "s")
    assert "s" in one.session.subscriptions


# --- Filters -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        b'{"kinds":[1.0]}',
        b'{"kinds":[1e0]}',
        b'{"kinds":[1e3]}',
        b'{"kinds":[-1]}',
        b'{"kinds":[9007199254740993]}',
        b'{"kinds":["1"]}',
        b'{"kinds":1}',
        b'{"since":1e9}',
        b'{"since":1.0}',
        b'{"until":"1"}',
        b'{"until":null}',
        b'{"limit":1e2}',
        b'{"limit":-1}',
        b'{"limit":true}',
        b'{"ids":["' + HEX.upper().encode() + b'"]}',
        b'{"authors":["' + HEX[:60].encode() + b'"]}',
        b'{"#e":["' + HEX.upper().encode() + b'"]}',
        b'{"#p":["npub1"]}',
        b'{"#t":[null]}',
        b'{"search":5}',
        b'{"search":"' + b"x" * 1000 + b'"}',
    ],
)
def test_wrong_types_floats_and_upper_case_in_filters_are_closed(fields: bytes) -> None:
    assert told(b'["REQ","s",' + fields + b"]")[:2] == ["CLOSED", "s"]
    assert told(b'["COUNT","s",' + fields + b"]")[:2] == ["CLOSED", "s"]


@pytest.mark.parametrize(
    "fields",
    [
        {"since": -1},
        {"since": -(10**30), "until": 10**30},
        {"limit": 2**53 + 1},
        {"limit": 10**30},
        {"#t": ["\x00", "'; drop table events; --", '"', "%", "*"]},
        {"#t": ["\U0001f600" * 100]},
        {"search": "\x00 ' \" * ( ) NEAR AND OR NOT : ^ - + { }"},
        {"#d": [""]},
    ],
)
async def test_odd_but_lawful_filters_are_answered(fields: dict[str, Any]) -> None:
    async with relay_bench() as b:
        await b.relay.publish(signed())
        client = b.client()
        client.say("REQ", "s", fields)
        while (message := await client.heard.get())[0] == "EVENT":
            pass
        assert message[0] == "EOSE"
        client.say("COUNT", "s", fields)
        assert (await client.hear())[0][0] == "COUNT"


def test_ten_thousand_filters_and_values_are_bounded() -> None:
    many = b",".join([b"{}"] * 10_000)
    assert told(b'["REQ","s",' + many + b"]")[2].startswith("invalid: at most 32 filters")
    values = b",".join(b'"%d"' % number for number in range(10_001))
    assert told(b'["REQ","s",{"#t":[' + values + b"]}]")[2].startswith("rate-limited: at most 10000 values")
    bench = Bench()
    for number in range(2):
        bench.tell("REQ", str(number), {"#t": [str(value) for value in range(6_000)]})
    assert bench.said()[0][:2] == ["CLOSED", "1"]


def test_of_a_key_given_twice_the_last_one_counts_as_everywhere_else() -> None:
    twice = '{"kinds":[1],"kinds":[2]}'
    bench = Bench()
    receive(bench.session, f'["REQ","s",{twice}]'.encode(), 0.0)
    kinds = bench.session.subscriptions["s"].filters[0].kinds
    assert kinds == parse_filter(json.loads(twice)).kinds == frozenset({2})


# --- Events ------------------------------------------------------------------------------------------


def changed(old: bytes, new: bytes) -> bytes:
    assert old in GOOD
    return GOOD.replace(old, new)


CREATED = b'"created_at":%d' % NOW
BROKEN_EVENTS = [
    changed(b'"kind":1', b'"kind":1.0'),
    changed(b'"kind":1', b'"kind":1e0'),
    changed(b'"kind":1', b'"kind":"1"'),
    changed(b'"kind":1', b'"kind":-1'),
    changed(b'"kind":1', b'"kind":65536'),
    changed(b'"kind":1', b'"kind":9007199254740993'),
    changed(b'"kind":1', b'"kind":null'),
    changed(b'"kind":1', b'"kind":true'),
    changed(CREATED, CREATED + b".0"),
    changed(CREATED, b'"created_at":1e9'),
    changed(CREATED, b'"created_at":-1'),
    changed(CREATED, b'"created_at":9007199254740993'),
    changed(CREATED, b'"created_at":99999999999999999999999999'),
    changed(CREATED, b'"created_at":"%d"' % NOW),
    changed(b'"tags":[]', b'"tags":{}'),
    changed(b'"tags":[]', b'"tags":[[]]'),
    changed(b'"tags":[]', b'"tags":["t"]'),
    changed(b'"tags":[]', b'"tags":[["t",null]]'),
    changed(b'"tags":[]', b'"tags":[["t",1]]'),
    changed(b'"tags":[]', b'"tags":' + b"[" * 50_000 + b"]" * 50_000),
    changed(b'"tags":[]', b'"tags":[' + b'["t"],' * 5_000 + b'["t"]]'),
    changed(b'"content":"hello"', b'"content":null'),
    changed(b'"content":"hello"', b'"content":5'),
    changed(b'"content":"hello"', b'"content":"\xff"'),
    changed(b'"content":"hello"', b'"content":"hellp"'),
    changed(b'"sig":"', b'"sig":"00'),
    GOOD[:-3] + b'ff"}' if not GOOD.endswith(b'ff"}') else GOOD[:-3] + b'00"}',
    changed(b'"pubkey":"', b'"pubkey":"A'),
    b'{"id":"' + ID.encode() + b'"}',
    b'{"id":"' + ID.encode() + b'","id":"' + HEX.encode() + b'",' + GOOD[73:],
]


@pytest.mark.parametrize("event", BROKEN_EVENTS)
async def test_a_malformed_event_whose_id_can_be_read_gets_ok_false(event: bytes) -> None:
    async with relay_bench() as b:
        client, other = b.client(), b.client()
        b.relay.receive(client.session, b'["EVENT",' + event + b"]", "client test")
        ok, name, accepted, reason = (await client.hear())[0]
        assert (ok, name, accepted) == ("OK", ID, False)
        assert reason.startswith("invalid: ")
        assert await other.stored("s", {}) == [], "other clients are served as before"


@pytest.mark.parametrize(
    "event",
    [
        b"{}",
        b"[]",
        b"null",
        b'"x"',
        b"5",
        b'{"id":5}',
        b'{"id":null}',
        b'{"id":["x"]}',
        b'{"id":"' + b"x" * 200 + b'"}',
    ],
)
async def test_an_event_without_a_readable_id_gets_a_notice(event: bytes) -> None:
    async with relay_bench() as b:
        client = b.client()
        b.relay.receive(client.session, b'["EVENT",' + event + b"]", "client test")
        notice, reason = (await client.hear())[0]
        assert notice == "NOTICE"
        assert reason.startswith("invalid: ")


async def test_an_id_in_upper_case_is_answered_as_it_was_sent_and_not_taken() -> None:
    async with relay_bench() as b:
        client = b.client()
        event = json.loads(GOOD)
        client.say("EVENT", {**event, "id": ID.upper()})
        assert (await client.hear())[0][:3] == ["OK", ID.upper(), False]
        assert await b.relay.query([parse_filter({})]) == []


@pytest.mark.parametrize(
    "content",
    [
        "\x7f",
        "\x00",
        "\x01",
        "\x1f",
        "\u2028\u2029",
        "\ufeff",
        "\ufffd",
        "\U0010ffff",
        "\b\f\n\r\t",
        '"\\/',
        "<>&",
    ],
)
async def test_every_unicode_text_is_taken_and_served_as_every_client_hashes_it(content: str) -> None:
    """JSON.stringify's form: seven short escapes, \\u00XX for other control characters, 0x7f verbatim."""
    async with relay_bench() as b:
        event = signed(content=content, tags=(("t", content),))
        client = b.client()
        client.publish(event)
        assert (await client.hear())[0] == ["OK", event.id, True, ""]
        client.say("REQ", "s", {"#t": [content]})
        (_, _, served), eose = await client.hear(2)
        assert served["content"] == content
        assert eose[0] == "EOSE"
        (stored,) = await b.relay.query([parse_filter({})])
        assert stored == json.dumps(json.loads(stored), ensure_ascii=False, separators=(",", ":")).encode()
