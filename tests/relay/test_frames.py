from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from meshconsole.relay.frames import NEED_MORE, Batch, Framing, next_frame, one_by_one, text_frames

LIMIT = 1 << 20


def client_frame(payload: bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True) -> bytes:
    """As the library writes it for a client: masked."""
    return bytes(Frame(opcode, payload, fin).serialize(mask=True))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70_000])
def test_text_frames_are_read(size: int) -> None:
    payload = bytes(n % 251 for n in range(size))
    data = b"before" + client_frame(payload) + b"after"
    assert next_frame(data, 6, LIMIT) == (payload, len(data) - 5)


@pytest.mark.parametrize("size", [0, 1, 126, 65536])
def test_a_frame_that_is_not_all_there_is_awaited(size: int) -> None:
    data = client_frame(b"x" * size)
    for cut in {0, 1, 2, 3, 5, 7, 9, 13, len(data) - 1}:
        if cut < len(data):
            assert next_frame(data[:cut], 0, LIMIT) == NEED_MORE


@pytest.mark.parametrize(
    "frame",
    [
        client_frame(b"ping", Opcode.PING),
        client_frame(b"", Opcode.CLOSE),
        client_frame(b"binary", Opcode.BINARY),
        client_frame(b"part", fin=False),
        client_frame(b"part", Opcode.CONT),
        b"\xc1" + client_frame(b"reserved bit")[1:],
    ],
    ids=["ping", "close", "binary", "first part", "later part", "reserved bit"],  # masks are random
)
def test_other_frames_are_left_whole_to_the_library(frame: bytes) -> None:
    assert next_frame(frame + b"more", 0, LIMIT) == (None, len(frame))
    assert next_frame(frame[:-1], 0, LIMIT) == NEED_MORE


def test_what_is_refused_is_left_to_the_library_at_once() -> None:
    unmasked = bytes(Frame(Opcode.TEXT, b"hello").serialize(mask=False))
    assert next_frame(unmasked, 0, LIMIT) == (None, len(unmasked))
    head = client_frame(b"x" * 2000)[:20]
    assert next_frame(head, 0, 1000) == (None, 20)
    huge = b"\x81\xff" + (1 << 62).to_bytes(8, "big")
    assert next_frame(huge, 0, LIMIT) == (None, len(huge))


@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(65530, 65540))
def test_written_frames_are_those_of_the_library(messages: list[bytes], size: int) -> None:
    messages.append(b"x" * size)
    expected = b"".join(bytes(Frame(Opcode.TEXT, message).serialize(mask=False)) for message in messages)
    assert text_frames(messages) == expected


def test_nothing_to_write() -> None:
    assert text_frames([]) == b""


@given(st.lists(st.binary(max_size=300), max_size=6), st.integers(1, 400), st.integers(65500, 65540))
def test_a_batch_is_its_messages_one_after_the_other(raws: list[bytes], limit: int, size: int) -> None:
    raws.append(b"x" * size)
    batch = Batch(b'["EVENT","a",', raws)
    messages = [b'["EVENT","a",%b]' % raw for raw in raws]
    assert batch.messages() == messages
    assert len(batch) == sum(map(len, messages))
    assert text_frames([b"before", batch, b"after"]) == text_frames([b"before", *messages, b"after"])
    parts = batch.parts(limit)
    assert one_by_one([b"before", *parts]) == [b"before", *messages]
    assert sum(map(len, parts)) == len(batch)
    assert batch.parts(len(batch)) == [batch]


@given(st.lists(st.lists(st.binary(max_size=3), max_size=3), max_size=8))
def test_what_was_joined_last_is_given_for_nothing_else(several: list[list[bytes]]) -> None:
    framing = Framing()
    for messages in several:
        assert framing.text_frames(messages) == text_frames(messages)


def test_who_is_sent_the_same_gets_the_same_bytes() -> None:
    framing = Framing()
    messages = [b"one", b"two"]
    assert framing.text_frames(messages) is framing.text_frames(list(messages))
