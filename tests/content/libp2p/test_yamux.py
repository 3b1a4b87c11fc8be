from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.content.libp2p import yamux
from meshconsole.content.libp2p.yamux import (
    ACK,
    DATA,
    FIN,
    INITIAL_WINDOW,
    MAX_EXTRA,
    MAX_INBOUND,
    MAX_WINDOW,
    PING,
    RST,
    SYN,
    WINDOW_UPDATE,
    Session,
    Stream,
)
from meshconsole.core.errors import RemoteError


def frame(kind: int, flags: int, number: int, value: int, data: bytes = b"") -> bytes:
    return struct.pack(">BBHII", 0, kind, flags, number, value) + data


def pair() -> tuple[Session, Session]:
    return Session(dialled=True), Session(dialled=False)


def carry(left: Session, right: Session) -> None:
    """Until neither has anything to say."""
    while True:
        there, back = left.outbox(), right.outbox()
        if not (there or back):
            return
        right.receive(there)
        left.receive(back)


def opened(left: Session, right: Session) -> tuple[Stream, Stream]:
    stream = left.open()
    carry(left, right)
    (other,) = right.opened()
    return stream, other


def test_bytes_go_both_ways_and_the_end_is_seen() -> None:
    left, right = pair()
    mine, theirs = opened(left, right)
    left.send(mine, memoryview(b"hello"))
    left.end(mine)
    carry(left, right)
    assert right.take(theirs, 5) == b"hello"
    assert theirs.ended_there
    right.send(theirs, memoryview(b"you too"))
    right.end(theirs)
    carry(left, right)
    assert left.take(mine, 7) == b"you too"
    assert (left.streams, right.streams, right.inbound) == (0, 0, 0)


@given(st.binary(max_size=2000), st.lists(st.integers(1, 40), min_size=1))
def test_where_the_pieces_end_means_nothing(data: bytes, pieces: list[int]) -> None:
    left, right = pair()
    stream = left.open()
    left.send(stream, memoryview(data))
    left.end(stream)
    said = left.outbox()
    position = index = 0
    while position < len(said):
        step = pieces[index % len(pieces)]
        right.receive(said[position : position + step])
        position, index = position + step, index + 1
    (other,) = right.opened()
    assert bytes(other.received) == data
    assert other.ended_there


def test_nobody_sends_more_than_was_granted() -> None:
    left, right = pair()
    mine, theirs = opened(left, right)
    data, sent = memoryview(bytes(1 << 20)), 0
    while count := left.send(mine, data[sent:]):
        sent += count
    assert sent == INITIAL_WINDOW
    carry(left, right)
    right.take(theirs, len(theirs.received))
    right.grant(theirs)
    carry(left, right)
    assert mine.may_send == INITIAL_WINDOW


def test_a_reader_of_a_long_message_grants_all_of_it() -> None:
    left, right = pair()
    mine, theirs = opened(left, right)
    right.grant(theirs, MAX_WINDOW)
    carry(left, right)
    assert mine.may_send == MAX_WINDOW


def test_long_messages_share_one_budget() -> None:
    left, right = pair()
    for _ in range(8):
        _, theirs = opened(left, right)
        right.grant(theirs, MAX_WINDOW)
        carry(left, right)
    promised = sum(stream.promised for stream in right._streams.values())
    assert promised <= 8 * INITIAL_WINDOW + MAX_EXTRA


@pytest.mark.parametrize(
    "said",
    [
        b"\x01" + bytes(11),
        frame(7, 0, 1, 0),
        frame(WINDOW_UPDATE, SYN, 0, 0),
        frame(WINDOW_UPDATE, SYN, 2, 0),
        frame(WINDOW_UPDATE, SYN, 1, 0) * 2,
        frame(WINDOW_UPDATE, SYN, 1, 0) + frame(DATA, 0, 1, INITIAL_WINDOW + 1),
        frame(DATA, SYN, 1, 0xFFFF_FFFF),
        frame(WINDOW_UPDATE, SYN, 1, 0xFFFF_FFFF) + frame(WINDOW_UPDATE, 0, 1, 0xFFFF_FFFF),
        b"".join(frame(WINDOW_UPDATE, SYN, 2 * n + 1, 0) for n in range(2000)),
    ],
    ids=["version", "kind", "zero", "parity", "twice", "window", "giant", "overflow", "flood"],
)
def test_what_ends_the_connection(said: bytes) -> None:
    session = Session(dialled=False)
    with pytest.raises(RemoteError):
        session.receive(said)


def test_streams_over_the_bound_are_reset() -> None:
    session = Session(dialled=False)
    for number in range(MAX_INBOUND + 3):
        session.receive(frame(WINDOW_UPDATE, SYN, 2 * number + 1, 0))
    assert session.inbound == MAX_INBOUND
    assert session.outbox().count(frame(WINDOW_UPDATE, RST, 2 * MAX_INBOUND + 1, 0)) == 1


def test_what_crosses_a_reset_is_let_pass() -> None:
    left, right = pair()
    mine, theirs = opened(left, right)
    left.send(mine, memoryview(b"late"))
    said = left.outbox()
    right.receive(said[:14])  # the head, and two bytes of the data
    right.reset(theirs)
    right.receive(said[14:])
    assert not theirs.received
    left.receive(right.outbox())
    assert mine.is_reset
    assert (left.streams, right.streams) == (0, 0)


def test_pings_are_answered_and_counted() -> None:
    left, right = pair()
    left.ping(7)
    assert left.outbox() == frame(PING, SYN, 0, 7)
    right.receive(frame(PING, SYN, 0, 7))
    assert right.outbox() == frame(PING, ACK, 0, 7)
    left.receive(frame(PING, ACK, 0, 7))
    assert left.pongs == 1


def test_no_stream_is_opened_to_a_peer_that_goes() -> None:
    session = Session(dialled=True)
    session.receive(frame(yamux.GO_AWAY, 0, 0, 0))
    with pytest.raises(RemoteError, match="no more streams"):
        session.open()


frames = st.tuples(
    st.sampled_from([0, 0, 0, 1]),
    st.sampled_from([DATA, WINDOW_UPDATE, PING, yamux.GO_AWAY, 9]),
    st.sampled_from([0, SYN, ACK, FIN, RST, SYN | FIN, 15]),
    st.integers(0, 8),
    st.sampled_from([0, 1, 30, INITIAL_WINDOW, 0xFFFF_FFFF]),
    st.binary(max_size=40),
).map(lambda parts: struct.pack(">BBHII", *parts[:5]) + parts[5])


@given(st.lists(frames | st.binary(max_size=40), max_size=30))
def test_any_bytes_keep_the_bounds(said: list[bytes]) -> None:
    session = Session(dialled=False)
    session.open()
    try:
        for data in said:
            session.receive(data)
    except RemoteError:
        return
    assert session.inbound <= MAX_INBOUND
    assert sum(len(stream.received) for stream in session._streams.values()) <= sum(map(len, said))
