from __future__ import annotations

import json
from typing import Any

import pytest

from meshconsole.core.errors import Refused
from meshconsole.relay.filter import Filter, encode_filter, matches, parse_filter
from tests.relay.making import NOW, fake_npub, unsigned

HEX = "ab" * 32


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, Filter()),
        ({"ids": [HEX, HEX]}, Filter(ids=frozenset({HEX}))),
        ({"authors": []}, Filter(authors=frozenset())),
        ({"kinds": [0, 65535]}, Filter(kinds=frozenset({0, 65535}))),
        ({"#t": ["x", ""]}, Filter(tags=(("t", frozenset({"x", ""})),))),
        ({"#T": ["x"]}, Filter(tags=(("T", frozenset({"x"})),))),
        ({"#e": [HEX]}, Filter(tags=(("e", frozenset({HEX})),))),
        ({"since": 1, "until": 2, "limit": 0}, Filter(since=1, until=2, limit=0)),
        ({"search": " two  words\n"}, Filter(search="two  words")),
        ({"search": " "}, Filter()),
        ({"since": -5, "until": 1 << 70}, Filter(since=-5, until=1 << 70)),
    ],
)
def test_filters_are_read(fields: dict[str, Any], wanted: Filter) -> None:
    assert parse_filter(fields) == wanted


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ([], "invalid"),
        ("x", "invalid"),
        (None, "invalid"),
        ({"ids": HEX}, "invalid"),
        ({"ids": [HEX.upper()]}, "invalid"),
        ({"ids": [HEX[:62]]}, "invalid"),
        ({"ids": ["ab"]}, "invalid"),
        ({"authors": [None]}, "invalid"),
        ({"authors": [HEX + "00"]}, "invalid"),
        ({"#e": ["short"]}, "invalid"),
        ({"#p": ["npub1xyz"]}, "invalid"),
        ({"#t": [1]}, "invalid"),
        ({"#t": "x"}, "invalid"),
        ({"kinds": ["1"]}, "invalid"),
        ({"kinds": [1.0]}, "invalid"),
        ({"kinds": [True]}, "invalid"),
        ({"kinds": [65536]}, "invalid"),
        ({"kinds": [-1]}, "invalid"),
        ({"kinds": 1}, "invalid"),
        ({"since": "1"}, "invalid"),
        ({"since": 1.5}, "invalid"),
        ({"until": None}, "invalid"),
        ({"limit": -1}, "invalid"),
        ({"limit": True}, "invalid"),
        ({"search": ["words"]}, "invalid"),
        ({"search": None}, "invalid"),
        ({"search": "x" * 513}, "invalid"),
        ({"addressed": [HEX]}, "unsupported"),
        ({"hidden": [1]}, "unsupported"),
        ({"#tt": ["x"]}, "unsupported"),
        ({"#": ["x"]}, "unsupported"),
        ({"#1": ["x"]}, "unsupported"),
        ({"#é": ["x"]}, "unsupported"),
        ({"&t": ["x"]}, "unsupported"),
        ({"id": [HEX]}, "unsupported"),
        ({"": []}, "unsupported"),
    ],
)
def test_bad_filters_are_refused_with_a_reason(fields: object, code: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_filter(fields)
    assert refused.value.code == code


def test_encoding_inverts_parsing() -> None:
    wanted = Filter(
        ids=frozenset({HEX}),
        authors=frozenset(),
        kinds=frozenset({1, 2}),
        tags=(("t", frozenset({"ü"})),),
        since=1,
        until=2,
        limit=0,
        search='"a" OR b*',
    )
    assert parse_filter(json.loads(encode_filter(wanted))) == wanted


def test_what_policies_put_in_is_not_encoded() -> None:
    wanted = Filter(hidden=frozenset({4}), addressed=frozenset({HEX}))
    assert encode_filter(wanted) == b"{}"


EVENT = unsigned(kind=7, tags=(("t", "one"), ("t", "two", "three"), ("e", HEX), ("x",)))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(), True),
        (Filter(ids=frozenset({EVENT.id, HEX})), True),
        (Filter(ids=frozenset({HEX})), False),
        (Filter(ids=frozenset()), False),
        (Filter(authors=frozenset({fake_npub("alice")})), True),
        (Filter(authors=frozenset({fake_npub("bob")})), False),
        (Filter(authors=frozenset()), False),
        (Filter(kinds=frozenset({1, 7})), True),
        (Filter(kinds=frozenset({1})), False),
        (Filter(kinds=frozenset()), False),
        (Filter(kinds=frozenset({7}), hidden=frozenset({7})), False),
        (Filter(hidden=frozenset({7})), False),
        (Filter(hidden=frozenset({8})), True),
        (Filter(tags=(("t", frozenset({"two", "no"})),)), True),
        (Filter(tags=(("t", frozenset({"three"})),)), False),
        (Filter(tags=(("T", frozenset({"one"})),)), False),
        (Filter(tags=(("x", frozenset({""})),)), False),
        (Filter(tags=(("t", frozenset()),)), False),
        (Filter(tags=(("t", frozenset({"one"})), ("e", frozenset({HEX})))), True),
        (Filter(tags=(("t", frozenset({"one"})), ("e", frozenset({"no"})))), False),
        (Filter(since=NOW), True),
        (Filter(since=NOW + 1), False),
        (Filter(until=NOW), True),
        (Filter(until=NOW - 1), False),
        (Filter(limit=0), True),
        (Filter(kinds=frozenset({7}), since=NOW + 1), False),
    ],
)
def test_matching(wanted: Filter, *, expected: bool) -> None:
    assert matches(wanted, EVENT) is expected


@pytest.mark.parametrize(
    ("search", "content", "expected"),
    [
        ("Wort", "ein WORT davon", True),
        ("ein wort", "Wort vor ein", True),
        ("ein satz", "ein wort", False),
        ("strasse", "Hohe Straße", True),
        ("zürich", "in Zurich", True),
        ("bridg", "bridges", True),
        ("ridge", "bridges", False),
        ("br", "bridges", False),
        ("br", "a br b", True),
        ("language:en wort", "wort", True),
        ("language:en", "anything", True),
        ("https://example.com", "see https://example.com/x", True),
        ("https://example.com", "see https://example.org", False),
        ("std::move", "std::move(x)", True),
        ("12:30", "at noon", False),
        ('"', "no quotes", False),
    ],
)
def test_nip50_live_events_are_searched_like_stored_ones(
    search: str, content: str, *, expected: bool
) -> None:
    assert matches(Filter(search=search), unsigned(content=content)) is expected
    assert not matches(Filter(search="wort"), unsigned(kind=1059, content="wort")), (
        "sealed contents hold no words"
    )


@pytest.mark.parametrize("kind", [1059, 21059])
@pytest.mark.parametrize(
    ("addressed", "expected"),
    [
        (None, True),
        (frozenset[str](), False),
        (frozenset({fake_npub("bob")}), True),
        (frozenset({fake_npub("carol"), fake_npub("dave")}), True),
        (frozenset({fake_npub("alice"), fake_npub("eve")}), False),
    ],
)
def test_nip59_wraps_match_only_for_those_they_are_addressed_to(
    kind: int, addressed: frozenset[str] | None, *, expected: bool
) -> None:
    wrap = unsigned("alice", kind, (("p", fake_npub("bob"), fake_npub("eve")), ("p", fake_npub("carol"))))
    assert matches(Filter(addressed=addressed), wrap) is expected
    assert matches(Filter(ids=frozenset({wrap.id}), addressed=addressed), wrap) is expected
    assert matches(Filter(addressed=addressed), unsigned(kind=4, tags=wrap.tags))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(), False),
        (Filter(kinds=frozenset({1059}), addressed=frozenset()), True),
        (Filter(kinds=frozenset({1059}), addressed=frozenset({HEX})), False),
        (Filter(kinds=frozenset({1059, 1}), addressed=frozenset()), False),
        (Filter(kinds=frozenset({7, 8}), hidden=frozenset({7, 8, 9})), True),
        (Filter(ids=frozenset()), True),
        (Filter(tags=(("t", frozenset({"a"})), ("e", frozenset()))), True),
        (Filter(since=2, until=1), True),
        (Filter(since=2, until=2), False),
        (Filter(limit=0), False),
    ],
)
def test_impossible(wanted: Filter, *, expected: bool) -> None:
    assert wanted.impossible is expected


def test_nip50_a_search_for_signs_matches_nothing_live_either() -> None:
    assert Filter(search="!").impossible
    assert not matches(Filter(search="!"), unsigned(content="!"))
    assert not Filter(search="include:spam").impossible
    assert matches(Filter(search="include:spam"), unsigned(content="!"))


def test_size_counts_listed_values() -> None:
    wanted = Filter(ids=frozenset({"a"}), kinds=frozenset({1, 2}), tags=(("t", frozenset({"x", "y"})),))
    assert wanted.size == 5
