"""Frames: what goes in comes out, higher precedence first, and nothing from outside is unbounded."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.errors import LocalError, RemoteError
from meshconsole.mesh.links.frames import (
    HEADER,
    MAX_FRAGMENT,
    MAX_FRAME,
    RECORD_PLAINTEXT,
    Channel,
    Frame,
    FrameDecoder,
    FrameQueue,
    Precedence,
)

frames = st.builds(
    Frame, st.sampled_from(Channel), st.sampled_from(Precedence), st.binary(min_size=1, max_size=40_000)
)


def drain(queue: FrameQueue) -> list[bytes]:
    records = []
    while queue:
        records.append(queue.take())
    assert queue.take() == b""
    return records


@given(st.lists(frames, max_size=12), st.integers(1, 50_000))
def test_every_frame_arrives_whole_and_in_the_order_of_its_lane(sent: list[Frame], cut: int) -> None:
    queue, decoder = FrameQueue(), FrameDecoder()
    for frame in sent:
        queue.put(*frame)
    stream = b"".join(drain(queue))
    got = [f for at in range(0, len(stream), cut) for f in decoder.receive(stream[at : at + cut])]
    for precedence in Precedence:
        assert [f for f in got if f.precedence == precedence] == [
            f for f in sent if f.precedence == precedence
        ]


@given(st.lists(st.binary(max_size=600), max_size=8))
def test_bytes_from_outside_never_do_worse_than_a_remote_error(chunks: list[bytes]) -> None:
    decoder = FrameDecoder()
    with contextlib.suppress(RemoteError):
        for chunk in chunks:
            for frame in decoder.receive(chunk):
                assert 0 < len(frame.payload) <= MAX_FRAME[frame.channel]


def test_small_frames_share_a_record() -> None:
    queue = FrameQueue()
    for _ in range(100):
        queue.put(Channel.EVENTS, Precedence.ROUTINE, b"x" * 100)
    assert len(drain(queue)) == 1


def test_no_record_exceeds_its_budget() -> None:
    queue = FrameQueue()
    queue.put(Channel.BLOCKS, Precedence.BULK, b"x" * 1_000_000)
    assert max(len(record) for record in drain(queue)) <= RECORD_PLAINTEXT


def test_a_flash_overtakes_a_long_frame_after_one_fragment() -> None:
    queue, decoder = FrameQueue(), FrameDecoder()
    queue.put(Channel.BLOCKS, Precedence.BULK, b"b" * 4_000_000)
    assert decoder.receive(queue.take()) == []
    queue.put(Channel.EVENTS, Precedence.FLASH, b"flash")
    assert decoder.receive(queue.take()) == [Frame(Channel.EVENTS, Precedence.FLASH, b"flash")]
    rest = [frame for record in drain(queue) for frame in decoder.receive(record)]
    assert rest == [Frame(Channel.BLOCKS, Precedence.BULK, b"b" * 4_000_000)]


def test_a_full_lane_takes_no_more_but_others_do() -> None:
    queue = FrameQueue(lane_limit=1000)
    queue.put(Channel.BLOCKS, Precedence.BULK, b"x" * 5000)
    assert not queue.has_room(Precedence.BULK)
    with pytest.raises(LocalError, match="full"):
        queue.put(Channel.BLOCKS, Precedence.BULK, b"x")
    queue.put(Channel.CONTROL, Precedence.IMMEDIATE, b"x")
    drain(queue)
    assert queue.has_room(Precedence.BULK)


@pytest.mark.parametrize("channel", list(Channel))
def test_a_frame_the_other_side_would_refuse_is_not_sent(channel: Channel) -> None:
    queue = FrameQueue()
    with pytest.raises(LocalError):
        queue.put(channel, Precedence.ROUTINE, b"")
    with pytest.raises(LocalError):
        queue.put(channel, Precedence.ROUTINE, bytes(MAX_FRAME[channel] + 1))


def fragment(size: int, lane: int) -> bytes:
    return HEADER.pack(size, lane) + bytes(min(size, MAX_FRAGMENT))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (fragment(0, 0), "bad-frame"),
        (fragment(MAX_FRAGMENT + 1, 0), "bad-frame"),
        (fragment(0xFFFFFFFF, 0), "bad-frame"),
        (fragment(1, 0x0F), "bad-frame"),
        (fragment(1, 0x70), "bad-frame"),
        (fragment(10, 0x80 | 0x31) + fragment(10, 0x32), "bad-frame"),
        (fragment(MAX_FRAGMENT, 0x80) * 5, "too-big"),
    ],
    ids=["empty", "long", "huge", "channel", "precedence", "mixed", "frame"],
)
def test_a_broken_law_is_a_remote_error(data: bytes, code: str) -> None:
    with pytest.raises(RemoteError) as caught:
        FrameDecoder().receive(data)
    assert caught.value.code == code


def test_unfinished_frames_in_all_lanes_together_are_bounded() -> None:
    decoder = FrameDecoder()
    block = b"".join(
        fragment(MAX_FRAGMENT, 0x80 | precedence << 4 | Channel.BLOCKS) for precedence in Precedence
    )
    rounds = MAX_FRAME[Channel.BLOCKS] // MAX_FRAGMENT
    with pytest.raises(RemoteError, match="at once"):
        list(map(decoder.receive, [block] * rounds))


def test_a_queue_says_whether_anything_so_urgent_waits() -> None:
    queue = FrameQueue()
    queue.put(Channel.BLOCKS, Precedence.BULK, b"block")
    assert not queue.waits(Precedence.ROUTINE)
    queue.put(Channel.EVENTS, Precedence.PRIORITY, b"event")
    assert queue.waits(Precedence.ROUTINE)
    assert not queue.waits(Precedence.IMMEDIATE)
