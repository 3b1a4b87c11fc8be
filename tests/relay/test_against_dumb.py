"""The whole relay against a dumb matcher: random events and filters on the wire, stored, limited and live."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshconsole.core.event import decode_event
from meshconsole.relay.filter import matches, parse_filter
from tests.relay.dumb import dumb_matches, dumb_stored
from tests.relay.making import NOW, Clock, npub, raw, signed
from tests.relay.relay_bench import bench

if TYPE_CHECKING:
    from meshconsole.core.event import Event
    from tests.relay.conftest import MakeStore
    from tests.relay.relay_bench import FakeClient

AUTHORS = ("alice", "bob", "one-time")
KINDS = (1, 7, 1059, 20001, 21059)
VALUES = ("", "x", "X", "a:b", npub("alice"), npub("bob"))
LETTERS = ("t", "T", "p", "d")
WORDS = ("red", "green", "blue")
times = st.integers(NOW - 2, NOW + 2)
tags = st.lists(
    st.one_of(
        st.tuples(st.sampled_from((*LETTERS, "long")), st.sampled_from(VALUES)),
        st.tuples(st.sampled_from(LETTERS)),
        st.tuples(st.sampled_from(LETTERS), st.sampled_from(VALUES), st.sampled_from(VALUES)),
    ),
    max_size=3,
).map(tuple)
made_events = st.builds(
    signed,
    st.sampled_from(AUTHORS),
    st.sampled_from(KINDS),
    tags,
    st.lists(st.sampled_from(WORDS), max_size=2).map(" ".join),
    times,
)


@st.composite
def made_filters(draw: st.DrawFn, known: list[Event]) -> dict[str, Any]:
    fields: dict[str, st.SearchStrategy[Any]] = {
        "ids": st.lists(st.sampled_from([event.id for event in known] or ["ab" * 32]), max_size=3),
        "authors": st.lists(st.sampled_from([npub(name) for name in AUTHORS]), max_size=2),
        "kinds": st.lists(st.sampled_from(KINDS), max_size=3),
        "since": times,
        "until": times,
        "limit": st.integers(0, 4),
        "#t": st.lists(st.sampled_from(VALUES), max_size=2),
        "#T": st.lists(st.sampled_from(VALUES), max_size=2),
        "#p": st.lists(st.sampled_from([npub("alice"), npub("bob")]), max_size=2),
        "#d": st.lists(st.sampled_from(VALUES), max_size=2),
        "search": st.sampled_from(WORDS),
    }
    named = draw(st.lists(st.sampled_from(sorted(fields)), max_size=3, unique=True))
    return {name: draw(fields[name]) for name in named}


relaxed = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


@relaxed
@given(st.data())
def test_the_matcher_agrees_with_the_dumb_one(data: st.DataObject) -> None:
    events = data.draw(st.lists(made_events, min_size=1, max_size=8))
    for wanted in data.draw(st.lists(made_filters(events), min_size=1, max_size=8)):
        for event in events:
            expected = dumb_matches(wanted, json.loads(raw(event)), frozenset({npub("alice"), npub("bob")}))
            if event.kind not in (1059, 21059):
                assert matches(parse_filter(wanted), event) is expected


@relaxed
@given(st.data())
def test_stored_then_live(make_store: MakeStore, data: st.DataObject) -> None:
    asyncio.run(stored_then_live(make_store, data))


async def stored_then_live(make_store: MakeStore, data: st.DataObject) -> None:
    before = data.draw(st.lists(made_events, max_size=12), label="before")
    after = data.draw(st.lists(made_events, max_size=8), label="after")
    asked = data.draw(
        st.lists(st.lists(made_filters(before + after), min_size=1, max_size=3), min_size=1, max_size=4),
        label="asked",
    )
    keys = data.draw(st.sampled_from([(), (npub("alice"),), (npub("alice"), npub("bob"))]), label="keys")
    with make_store(Clock()) as store:
        async with bench(store) as b:
            await b.relay.publish_many(before)
            stored = [json.loads(each) for each in store.query([parse_filter({})], 1000)]
            client = b.client()
            client.session.client.npubs = keys
            for number, filters in enumerate(asked):
                searched = any("search" in wanted for wanted in filters)
                expected = dumb_stored(filters, stored, frozenset(keys))
                client.say("REQ", str(number), *filters)
                given_, closed = await answer(client, str(number))
                if closed:  # it asked for nothing but wraps that it may not see
                    assert expected == []
                    asked[number] = []
                elif searched:
                    assert sorted(given_) == sorted(expected)
                else:
                    assert given_ == expected
                client.say("COUNT", "count", *filters)
                counted = (await client.hear())[0]
                without_limits = [
                    {name: value for name, value in wanted.items() if name != "limit"} for wanted in filters
                ]
                if counted[0] == "COUNT":
                    assert counted[2]["count"] == len(dumb_stored(without_limits, stored, frozenset(keys)))
            verdicts = await b.relay.publish_many(after)
            await settled()
            heard: list[tuple[str, str]] = []
            while not client.heard.empty():
                message = client.heard.get_nowait()
                assert message[0] == "EVENT"
                heard.append((message[1], message[2]["id"]))
            expected_live = [
                (str(number), event["id"])
                for event, verdict in zip([json.loads(raw(each)) for each in after], verdicts, strict=True)
                if verdict.accepted and not verdict.code
                for number, filters in enumerate(asked)
                if any(dumb_matches(wanted, event, frozenset(keys)) for wanted in filters)
            ]
            assert sorted(heard) == sorted(expected_live)


async def answer(client: FakeClient, name: str) -> tuple[list[str], bool]:
    """Ids up to EOSE or CLOSED, and whether it was the latter."""
    found: list[str] = []
    while (message := await client.heard.get())[0] != "EOSE":
        if message[0] == "AUTH":
            continue
        assert message[1] == name
        if message[0] == "CLOSED":
            return found, True
        found.append(decode_event(json.dumps(message[2]).encode()).id)
    assert message[1] == name
    return found, False


async def settled() -> None:
    """What was queued for clients on the loop has reached them."""
    for _ in range(10):
        await asyncio.sleep(0)
