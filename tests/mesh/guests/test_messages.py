"""What a page says while a data channel is made: any text is a message or a remote error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.errors import RemoteError
from meshconsole.mesh.guests import messages as g

if TYPE_CHECKING:
    from collections.abc import Callable

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=200),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_fields = st.sampled_from(["type", "login", "token", "name", "sdp", "else"])
_objects = st.dictionaries(_fields, st.sampled_from(["ask", "offer", "hello"]) | _values, max_size=6)


@pytest.mark.parametrize("read", [g.read_ask, g.read_offer])
@given(text=st.text(max_size=100) | _objects.map(json.dumps))
def test_any_text_is_a_message_or_a_remote_error(read: Callable[[str], g.Ask | g.Offer], text: str) -> None:
    try:
        said = read(text)
    except RemoteError:
        return
    if isinstance(said, g.Ask):
        assert len(said.token) <= 64
        assert len(said.name) <= 128


@pytest.mark.parametrize(
    "said",
    [
        g.Hello("alpha", "00"),
        g.Wait("048213"),
        g.Welcome("Anna", 1.0),
        g.Answer("v=0"),
        g.Over("because", final=True),
    ],
)
def test_what_the_node_says_names_its_type_in_small_letters(
    said: g.Hello | g.Wait | g.Welcome | g.Answer | g.Over,
) -> None:
    assert json.loads(g.encode(said))["type"] == type(said).__name__.lower()
