"""Each refusal has a prefix of NIP-01 and a sentence, and counts for the operator."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from meshconsole.core.sections import RelaySection
from meshconsole.core.verdict import Code
from meshconsole.relay.lists import Lists
from tests.relay.making import NOW, Members, npub, raw, signed
from tests.relay.relay_bench import bench

ID = "ab" * 32
LONG = "x" * 65

NEG_PREFIXES = {"closed"}
"""NIP-77 knows one more."""


@pytest.mark.parametrize(
    "parts",
    [
        ["HELLO"],
        [5],
        ["EVENT"],
        ["EVENT", {}, {}],
        ["EVENT", {"id": ID}],
        ["EVENT", json.loads(raw(signed(kind=22242)))],
        ["EVENT", json.loads(raw(signed(tags=(("-",),))))],
        ["REQ"],
        ["REQ", ""],
        ["REQ", LONG, {}],
        ["REQ", LONG * 9, {}],
        ["REQ", "s"],
        ["REQ", "s", {"x": 1}],
        ["REQ", "s", {"kinds": [1059]}],
        ["REQ", "s", {"kinds": [4201]}],
        ["REQ", "s", {"kinds": [28935]}],
        ["REQ", "s", *[{}] * 40],
        ["CLOSE"],
        ["CLOSE", LONG],
        ["COUNT", "c", {"ids": "x"}],
        ["COUNT", LONG, {}],
        ["AUTH"],
        ["AUTH", "challenge"],
        ["AUTH", json.loads(raw(signed(kind=22242)))],
        ["NEG-OPEN"],
        ["NEG-OPEN", "n", {}, "no hex"],
        ["NEG-OPEN", "n", {}, "00"],
        ["NEG-OPEN", "n", {}, "6100000200", 1],
        ["NEG-OPEN", "n", {"search": "x"}, "6100000200"],
        ["NEG-MSG", "n", "61"],
        ["NEG-CLOSE", ""],
    ],
)
async def test_every_refusal_is_told_and_counted_once(parts: list[Any]) -> None:
    async with bench() as b:
        client = b.client()
        client.say(*parts)
        (said,) = [message for message in await client.hear() if message[0] != "AUTH"] or await client.hear()
        reason = {"OK": 3, "NOTICE": 1}.get(said[0], 2)
        code, _, sentence = said[reason].partition(": ")
        assert code in {*get_args(Code), *NEG_PREFIXES} - {""}
        assert sentence
        counted = b.relay.status()
        ((told, times),) = counted.refusals.items()
        assert told.startswith(f"{code}: "), "the operator reads what the client was told"
        assert times == 1
        assert b.relay.refusals.total() == 1
        assert client.session.client.use.refused == 1


async def test_what_ends_a_live_subscription_counts_too() -> None:
    access = Members({npub("alice")})
    async with bench(access=access) as b:
        client = b.client()
        login = signed("alice", 22242, (("relay", "ws://here"), ("challenge", (await client.hear())[0][1])))
        client.say("AUTH", json.loads(raw(login)))
        client.say("REQ", "s", {})
        await client.hear(2)
        access.npubs.clear()
        await b.relay.publish(signed())
        await client.hear()
        assert b.relay.status().refusals == {"restricted: members only": 1}


async def test_whatever_strangers_send_reasons_stay_few() -> None:
    """A hundred reasons of somebody's invention would hide the true ones."""
    config = RelaySection(
        rate_limits=True,
        events_per_second=1_000_000,
        min_pow_difficulty=200,
        max_future_s=1,
        kind_events_per_minute=("1000-60000=1",),
    )
    async with bench(config=config) as b:
        client = b.client()
        for number in range(100):
            client.say(f"VERB{number}", "s")
            client.say("REQ", "s", {f"field{number}": 1})
            client.say("REQ", "s" * (70 + number), {})
            client.say("REQ", "s" * (300 + number), {})
            client.publish(signed(tags=(("nonce", "1", str(number)),)))
            client.publish(signed(content=str(number)))
        await client.hear(600)
        for number in range(100):
            client.say("NEG-OPEN", "n", {}, f"610000{number % 100 + 3:02x}")
            await client.hear()
        b.relay.apply(RelaySection(max_future_s=1, events_per_second=1_000_000))
        for number in range(100):
            client.publish(signed(created_at=NOW + 100 + number))
        await client.hear(100)
        b.relay.apply(RelaySection(events_per_second=1_000_000, kind_events_per_minute=("1000-9000=1",)))
        for number in range(100):
            client.publish(signed(kind=1000 + number))
        await client.hear(100)
        reasons = b.relay.status().refusals
        assert sum(reasons.values()) > 800
        assert len(reasons) < 15, reasons


def test_kinds_that_are_listed_away_are_one_reason() -> None:
    lists = Lists(allowed_kinds=frozenset({1}))
    said = {lists.judge_kind(kind).sentence.partition(":")[0] for kind in range(2, 100)}
    assert said == {"this kind of event is not taken here"}
