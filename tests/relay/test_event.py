from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.errors import Refused
from meshconsole.core.event import Event, event_id
from meshconsole.relay import event as relay_event
from meshconsole.relay.event import (
    MAX_CREATED_AT,
    MAX_TAGS,
    address,
    claimed_id,
    expiration,
    has_expired,
    indexed_tags,
    is_hex,
    is_protected,
    read_event,
    readable_id,
)
from tests.relay.making import raw, signed, unsigned


def fields(**changes: object) -> bytes:
    """A genuine event as JSON with some fields changed; the id is made to fit unless it is given."""
    event = json.loads(raw(unsigned()))
    event.update(changes)
    if "id" not in changes:
        try:
            tags = tuple(tuple(tag) for tag in event["tags"])
            event["id"] = event_id(
                event["pubkey"], event["created_at"], event["kind"], tags, event["content"]
            ).hex()
        except (TypeError, OverflowError, UnicodeEncodeError):
            pass
    return json.dumps(event).encode()


def reason(data: bytes, max_bytes: int = relay_event.MAX_EVENT_BYTES) -> str:
    with pytest.raises(Refused) as refused:
        read_event(data, max_bytes)
    assert refused.value.code == "invalid"
    return refused.value.sentence


def test_a_genuine_event_keeps_its_bytes() -> None:
    event = signed(tags=(("e", "ab"), ("t", "x", "y")), content='line\nbreak "quoted" \\ \t é 漢 😀')
    read = read_event(raw(event))
    assert read.event == event
    assert read.raw == raw(event)
    assert read.digest.hex() == event.id


def test_any_spelling_becomes_the_canonical_one() -> None:
    event = unsigned(content="é/\x7f", tags=(("t", "ü"),))
    loose = json.loads(raw(event))
    spelled = json.dumps(dict(reversed(loose.items())), indent=2, ensure_ascii=True).replace("/", "\\/")
    assert read_event(spelled.encode()).raw == raw(event)


def test_unknown_fields_are_dropped() -> None:
    assert b"extra" not in read_event(fields(extra=[1, {"a": None}])).raw


@pytest.mark.parametrize("content", ["\x00", "\x01\x1f", "\x7f", "\u2028\u2029", "/", "\ufeff"])
def test_control_characters_are_hashed_as_json_writes_them(content: str) -> None:
    assert read_event(fields(content=content)).event.content == content


@pytest.mark.parametrize("name", ["id", "pubkey", "created_at", "kind", "tags", "content", "sig"])
def test_every_field_is_needed(name: str) -> None:
    event = json.loads(raw(unsigned()))
    del event[name]
    assert name in reason(json.dumps(event).encode())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": 65536}, "kind"),
        ({"kind": -1}, "kind"),
        ({"kind": 1.5}, "kind"),
        ({"kind": 1.0}, "kind"),
        ({"kind": "1"}, "kind"),
        ({"kind": True}, "kind"),
        ({"created_at": -1}, "created_at"),
        ({"created_at": MAX_CREATED_AT + 1}, "created_at"),
        ({"created_at": 1 << 80}, "created_at"),
        ({"created_at": None}, "created_at"),
        ({"tags": [[]]}, "name"),
        ({"tags": [["e", 1]]}, "tags"),
        ({"tags": [["e", None]]}, "tags"),
        ({"tags": [["e", ["x"]]]}, "tags"),
        ({"tags": {}}, "tags"),
        ({"tags": [["t"]] * (MAX_TAGS + 1)}, "tags"),
        ({"content": 5}, "content"),
        ({"content": None}, "content"),
        ({"pubkey": "AB" * 32}, "pubkey"),
        ({"pubkey": "ab" * 31}, "pubkey"),
        ({"pubkey": "ab" * 31 + " a"}, "pubkey"),
        ({"pubkey": "\uff11" * 64}, "pubkey"),
        ({"sig": "AB" * 64}, "sig"),
        ({"sig": "ab" * 63}, "sig"),
        ({"id": "00" * 32}, "id"),
        ({"id": ""}, "id"),
    ],
)
def test_what_is_not_an_event_is_refused(changes: dict[str, Any], said: str) -> None:
    assert said in reason(fields(**changes))


def test_an_id_in_upper_case_is_not_the_id() -> None:
    event = unsigned()
    assert "id" in reason(fields(id=event.id.upper()))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b'{"id":"\xff"}',
        b"{" + b'"a":{' * 100_000,
        b"[" * 100_000,
        raw(unsigned())[:-1],
        raw(unsigned()) + b"x",
        b"\xef\xbb\xbf" + raw(unsigned()),
    ],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    reason(data)


@pytest.mark.parametrize("escape", [b"\\ud800", b"\\udc00x", b"\\ud800\\ud800", b"\xed\xa0\x80", b"\xff"])
def test_text_that_is_not_unicode_is_refused(escape: bytes) -> None:
    reason(raw(unsigned(content="MARK")).replace(b"MARK", escape))


def test_lone_surrogates_in_a_local_event_are_refused() -> None:
    broken = Event("00" * 32, "ab" * 32, 1, 1, (), "\ud800", "00" * 64)
    with pytest.raises(Refused):
        relay_event.check_event(broken)


def test_nesting_in_unknown_fields_is_refused_without_harm() -> None:
    deep = b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    assert "deep" in reason(deep)


def test_size_is_that_of_the_canonical_event() -> None:
    event = unsigned(content="x" * 1000)
    size = len(raw(event))
    assert read_event(b" " * 50 + raw(event), size).event == event
    assert f"{size - 1} bytes" in reason(raw(event), size - 1)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail(data: bytes) -> None:
    with contextlib.suppress(Refused):
        read_event(data)
    claimed_id(data)
    readable_id(data)


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), min_size=1)),
)
def test_reading_inverts_writing(content: str, tags: list[list[str]]) -> None:
    event = unsigned(content=content, tags=tuple(map(tuple, tags)))
    assert read_event(raw(event)) == (event, raw(event), bytes.fromhex(event.id))


def test_claimed_id_is_the_events_own() -> None:
    other = unsigned(content="other")
    event = unsigned(content=f'{{"id":"{other.id}"}}', tags=(("id", other.id),))
    assert claimed_id(raw(event)) == event.id
    assert claimed_id(b'{"id" : "' + event.id.encode() + b'"}') == event.id
    assert claimed_id(b"{}") == ""


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'{"id":"ABC","kind":"x"}', "ABC"),
        (b'{"kind":1,"id":""}', ""),
        (b'{"id":5}', None),
        (b'{"id":"' + b"a" * 500 + b'"}', None),
        (b"[]", None),
        (b"{", None),
        (b'{"id":"' + b"ab" * 32 + b'", broken', "ab" * 32),
    ],
)
def test_even_a_broken_event_may_have_a_readable_id(data: bytes, found: str | None) -> None:
    assert readable_id(data) == found


@pytest.mark.parametrize(
    ("tags", "expires"),
    [
        ((), None),
        ((("expiration", "17"),), 17),
        ((("expiration", "17"), ("expiration", "5")), 17),
        ((("expiration",),), None),
        ((("expiration", "soon"),), None),
        ((("expiration", "-5"),), None),
        ((("expiration", "1.5"),), None),
        ((("expiration", "٣"),), None),
        ((("expiration", "9" * 400),), 1 << 62),
    ],
)
def test_expiration(tags: tuple[tuple[str, ...], ...], expires: int | None) -> None:
    assert expiration(unsigned(tags=tags)) == expires


def test_whether_a_canonical_event_has_expired() -> None:
    expiring = raw(unsigned(tags=(("t", "x"), ("expiration", "100"))))
    assert has_expired(expiring, 100)
    assert not has_expired(expiring, 99.9)
    assert not has_expired(raw(unsigned(content='["expiration","1"]')), 100)
    assert not has_expired(raw(unsigned(tags=(("expiration",),))), 100)


def test_protected() -> None:
    assert is_protected(unsigned(tags=(("-",),)))
    assert not is_protected(unsigned(tags=(("e", "-"),)))


def test_only_first_values_of_single_letters_are_indexed() -> None:
    tags = (("e", "one", "two"), ("E", "three"), ("ee", "no"), ("t",), ("é", "no"), ("1", "no"), ("t", ""))
    assert indexed_tags(unsigned(tags=tags)) == {("e", "one"), ("E", "three"), ("t", "")}


def test_addresses() -> None:
    pubkey = unsigned().pubkey
    tagged = (("d", "a:b"), ("d", "second"))
    assert address(unsigned(kind=30023, tags=tagged)) == f"30023:{pubkey}:a:b"
    assert address(unsigned(kind=30023)) == f"30023:{pubkey}:"
    assert address(unsigned(kind=30023, tags=(("d",),))) == f"30023:{pubkey}:"
    assert address(unsigned(kind=10002, tags=tagged)) == f"10002:{pubkey}:"
    assert address(unsigned(kind=0, tags=tagged)) == f"0:{pubkey}:"


def test_hex() -> None:
    assert is_hex("0af9", 4)
    assert not is_hex("0aF9", 4)
    assert not is_hex("0af", 4)
    assert not is_hex("0a-9", 4)
