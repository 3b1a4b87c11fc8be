from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.content.libp2p.multistream import (
    HEADER,
    MAX_PROPOSALS,
    answer,
    encode_lines,
    propose,
    read_length,
    read_line,
)
from meshconsole.core.errors import RemoteError, Unavailable
from tests.content.libp2p.fuzzing import Said


async def test_the_first_that_is_taken() -> None:
    other = Said(encode_lines(HEADER, "na", "/b"))
    assert await propose(other, ("/a", "/b")) == "/b"
    assert other.written == encode_lines(HEADER, "/a", "/b")


async def test_none_is_taken() -> None:
    with pytest.raises(RemoteError, match="does not speak /a or /b"):
        await propose(Said(encode_lines(HEADER, "na", "na")), ("/a", "/b"))


async def test_an_answer_to_another_question() -> None:
    with pytest.raises(RemoteError, match="not proposed"):
        await propose(Said(encode_lines(HEADER, "/c")), ("/a", "/b"))


async def test_a_listener_takes_what_it_speaks() -> None:
    other = Said(encode_lines(HEADER, "/x", "/a"))
    assert await answer(other, {"/a"}) == "/a"
    assert other.written == encode_lines(HEADER, "na", "/a")


async def test_a_listener_does_not_say_no_for_ever() -> None:
    with pytest.raises(RemoteError, match="none of which"):
        await answer(Said(encode_lines(HEADER, *["/x"] * MAX_PROPOSALS)), {"/a"})


@pytest.mark.parametrize(
    "said",
    [b"GET / HTTP/1.1\r\n\r\n", b"\x05abcd!", b"\xff\xff\x03", b"\x03\xff\xff\n", b"\x80\x00", b"\x00"],
)
async def test_garbage_at_the_door(said: bytes) -> None:
    with pytest.raises((RemoteError, Unavailable)):
        await answer(Said(said), {"/a"})


async def test_lengths() -> None:
    assert await read_length(Said(b"\x85\x02"), 1000) == 261
    with pytest.raises(RemoteError, match="announced"):
        await read_length(Said(b"\xff\xff\xff\x7f"), 4 << 20)
    with pytest.raises(RemoteError, match="32 bits"):
        await read_length(Said(b"\xff\xff\xff\xff\xff\x01"), 4 << 20)


@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    async def read() -> None:
        with suppress(RemoteError, Unavailable):
            await answer(Said(data), {"/a"})
        with suppress(RemoteError, Unavailable):
            await read_line(Said(data))

    asyncio.run(read())
