"""Whatever a peer chose to call itself, a table and JSON stay a table and JSON."""

from __future__ import annotations

import io
import json
import unicodedata
from contextlib import redirect_stdout

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.cli.output import columns, print_json, print_table, printable
from meshconsole.control.team import InviteData

text = st.text(st.characters(exclude_categories=()), max_size=40)


class Named(msgspec.Struct, frozen=True):
    name: str


def printed(what: object, *arguments: object) -> str:
    assert callable(what)
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    with redirect_stdout(stream):
        what(*arguments)
    stream.seek(0)
    return stream.read()


@given(st.lists(st.tuples(text, text), max_size=5))
def test_a_table_holds_no_controls_and_keeps_its_lines(rows: list[tuple[str, str]]) -> None:
    out = printed(print_table, ("a", "b"), rows)
    assert out.count("\n") == len(rows) + 1
    assert not [char for char in out if char != "\n" and unicodedata.category(char) in ("Cc", "Cf", "Cs")]


@given(text.filter(lambda name: not any(0xD800 <= ord(char) < 0xE000 for char in name)))
def test_json_is_ascii_without_controls_and_loses_nothing(name: str) -> None:
    out = printed(print_json, [Named(name)])
    assert all(" " <= char <= "~" for char in out.removesuffix("\n"))
    assert json.loads(out) == [{"name": name}]


def test_json_leaves_the_message_tag_out() -> None:
    out = printed(print_json, InviteData("MC1-A", 7, ("192.0.2.1:7447",)))
    assert json.loads(out) == {"text": "MC1-A", "expires": 7, "addresses": ["192.0.2.1:7447"]}


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    out = printed(print_table, ("name", "n"), [("a", "1"), ("写真", "22")])
    assert out.splitlines() == ["NAME  N", "a     1", "写真  22"]


@pytest.mark.parametrize(("shown", "width"), [("abc", 3), ("写", 2), ("e\u0301", 1), ("", 0)])
def test_columns(shown: str, width: int) -> None:
    assert columns(shown) == width


def test_what_the_terminal_cannot_show_becomes_a_question_mark() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with redirect_stdout(stream):
        assert printable("caf\u00e9\nx") == "caf?\nx"
