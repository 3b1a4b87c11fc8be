"""Event ids: the serialisation of NIP-01, byte for byte."""

from __future__ import annotations

import hashlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.event import (
    Event,
    Tags,
    canonical,
    decode_event,
    encode_event,
    event_id,
    has_valid_id,
    is_addressable,
    is_ephemeral,
    is_replaceable,
)

KEY = "ab" * 32
words = st.text(max_size=20)
tag_lists = st.lists(st.lists(words, min_size=1, max_size=3).map(tuple), max_size=3).map(tuple)


def an_event(tags: Tags = (), content: str = "") -> Event:
    digest = event_id(KEY, 1_700_000_000, 1, tags, content)
    return Event(digest.hex(), KEY, 1_700_000_000, 1, tags, content, "00" * 64)


def nip01(pubkey: str, created_at: int, kind: int, tags: Tags, content: str) -> bytes:
    """NIP-01's own words: the seven escapes, everything else verbatim, no whitespace."""
    escapes = {
        "\n": "\\n",
        '"': '\\"',
        "\\": "\\\\",
        "\r": "\\r",
        "\t": "\\t",
        "\b": "\\b",
        "\f": "\\f",
    }

    def quoted(text: str) -> str:
        return '"' + "".join(escapes.get(char, char) for char in text) + '"'

    listed = ",".join("[" + ",".join(map(quoted, tag)) + "]" for tag in tags)
    return f'[0,"{pubkey}",{created_at},{kind},[{listed}],{quoted(content)}]'.encode()


printable = st.text(
    st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from('\n"\\\r\t\b\f'), max_size=40
)


@given(printable)
def test_the_serialisation_is_nip01_s(content: str) -> None:
    assert canonical(KEY, 7, 1, (("t", content),), content) == nip01(KEY, 7, 1, (("t", content),), content)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "plain",
        'a "quote"',
        "back\\slash",
        "line\nline",
        "tab\t",
        "\r\b\f",
        "/",
        "\u00e9",
        "\u2028",
        "\U0001f985",
        "\x7f",
    ],
)
def test_ids_of_escapes(content: str) -> None:
    assert event_id(KEY, 1, 1, (), content) == hashlib.sha256(nip01(KEY, 1, 1, (), content)).digest()


@pytest.mark.parametrize("control", [chr(code) for code in range(0x20) if chr(code) not in "\n\r\t\b\f"])
def test_other_controls_are_escaped_as_every_json_writer_does(control: str) -> None:
    """NIP-01 is silent about these; all known relays agree on \\u00xx in lowercase."""
    assert json.loads(canonical(KEY, 1, 1, (), control))[5] == control
    assert f"\\u{ord(control):04x}".encode() in canonical(KEY, 1, 1, (), control)


def test_a_known_event() -> None:
    """From NIP-01's serialisation, computed with sha256sum."""
    text = b'[0,"' + KEY.encode() + b'",1700000000,1,[["e","x"]],"hello"]'
    assert event_id(KEY, 1_700_000_000, 1, (("e", "x"),), "hello") == hashlib.sha256(text).digest()


@given(tag_lists, words)
def test_what_is_encoded_is_decoded(tags: Tags, content: str) -> None:
    event = an_event(tags, content)
    assert has_valid_id(event)
    assert decode_event(encode_event(event)) == event
    assert list(json.loads(encode_event(event))) == [
        "id",
        "pubkey",
        "created_at",
        "kind",
        "tags",
        "content",
        "sig",
    ]


@given(words, words)
def test_another_content_is_another_id(content: str, other: str) -> None:
    event = msgspec.structs.replace(an_event(content=content), content=other)
    assert has_valid_id(event) == (content == other)


def test_tags_by_name() -> None:
    event = an_event((("d",), ("e", "first"), ("e", "second"), ()))
    assert event.tag("d") == ""
    assert event.tag("e") == "first"
    assert event.tag("p") is None


@pytest.mark.parametrize(
    ("kind", "replaceable", "ephemeral", "addressable"),
    [
        (0, True, False, False),
        (1, False, False, False),
        (3, True, False, False),
        (4201, False, False, False),
        (9999, False, False, False),
        (10000, True, False, False),
        (19999, True, False, False),
        (20000, False, True, False),
        (29999, False, True, False),
        (30000, False, False, True),
        (34201, False, False, True),
        (39999, False, False, True),
        (40000, False, False, False),
    ],
)
def test_ranges_of_kinds(kind: int, replaceable: bool, ephemeral: bool, addressable: bool) -> None:
    assert (is_replaceable(kind), is_ephemeral(kind), is_addressable(kind)) == (
        replaceable,
        ephemeral,
        addressable,
    )
