"""Negentropy v1 by itself: both roles together, the bytes of the specification, hostile messages."""

from __future__ import annotations

import random
from hashlib import sha256

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from meshconsole.core.errors import LocalError, RemoteError
from meshconsole.relay.items import ItemVector
from meshconsole.relay.negentropy import (
    MIN_FRAME_BYTES,
    Initiator,
    Responder,
    Step,
    encode_varint,
    fingerprint,
    read_ranges,
    read_varint,
)

Item = tuple[int, bytes]
FRAMES = (MIN_FRAME_BYTES, 5000, 20_000, 60_000)


def item(number: int, span: int) -> Item:
    digest = sha256(number.to_bytes(8, "big")).digest()
    return 1_000_000 + digest[0] % span, digest


def reconciled(
    ours: set[Item], theirs: set[Item], our_frame: int = 60_000, their_frame: int = 60_000
) -> tuple[set[bytes], set[bytes], int]:
    """What the initiator learns that it has and needs, and in how many rounds."""
    initiator = Initiator(ItemVector(sorted(ours)), our_frame)
    responder = Responder(ItemVector(sorted(theirs)), their_frame)
    have: list[bytes] = []
    need: list[bytes] = []
    message: bytes | None = initiator.begin()
    rounds = 0
    while message is not None:
        assert len(message) <= our_frame
        answer = responder.receive(message)
        assert len(answer) <= their_frame
        message, more_have, more_need = initiator.receive(answer)
        have += more_have
        need += more_need
        rounds += 1
        assert rounds < 1000
    assert len(set(have)) == len(have)
    assert len(set(need)) == len(need)
    return set(have), set(need), rounds


numbers = st.sets(st.integers(0, 400), max_size=200)


@given(
    numbers, numbers, numbers, st.sampled_from([1, 3, 200]), st.sampled_from(FRAMES), st.sampled_from(FRAMES)
)
@settings(max_examples=150, deadline=None)
@example(set(), set(), set(), 1, MIN_FRAME_BYTES, MIN_FRAME_BYTES)
@example(set(range(400)), set(), set(), 1, MIN_FRAME_BYTES, MIN_FRAME_BYTES)
@example(set(), set(range(400)), set(), 1, MIN_FRAME_BYTES, MIN_FRAME_BYTES)
def test_two_sets_learn_exactly_their_differences(
    both: set[int], mine: set[int], yours: set[int], span: int, our_frame: int, their_frame: int
) -> None:
    ours = {item(number, span) for number in both | mine}
    theirs = {item(number, span) for number in both | yours}
    have, need, _ = reconciled(ours, theirs, our_frame, their_frame)
    assert have == {i for _, i in ours - theirs}
    assert need == {i for _, i in theirs - ours}


@pytest.mark.parametrize("their_frame", FRAMES)
@pytest.mark.parametrize("our_frame", FRAMES)
def test_large_sets_with_any_frame_limit(our_frame: int, their_frame: int) -> None:
    made = random.Random(our_frame + their_frame)
    everything = [item(number, 256) for number in range(6000)]
    ours = {one for one in everything if made.random() < 0.9}
    theirs = {one for one in everything if made.random() < 0.9}
    have, need, _ = reconciled(ours, theirs, our_frame, their_frame)
    assert have == {i for _, i in ours - theirs}
    assert need == {i for _, i in theirs - ours}


def test_equal_sets_take_one_round() -> None:
    items = {item(number, 256) for number in range(5000)}
    assert reconciled(items, items) == (set(), set(), 1)


def test_one_difference_in_many_takes_few_rounds() -> None:
    items = {item(number, 256) for number in range(5000)}
    have, need, rounds = reconciled(items, items - {item(7, 256)})
    assert (have, need) == ({item(7, 256)[1]}, set())
    assert rounds <= 3


# --- The bytes of the specification ----------------------------------------------------------------------


def test_an_empty_set_lists_nothing_up_to_infinity() -> None:
    assert Initiator(ItemVector([])).begin() == bytes([0x61, 0, 0, 2, 0])


def test_few_items_are_listed() -> None:
    vector = ItemVector([(5, b"\x01" * 32), (9, b"\x02" * 32)])
    assert Initiator(vector).begin() == bytes([0x61, 0, 0, 2, 2]) + b"\x01" * 32 + b"\x02" * 32


def test_the_fingerprint_is_sum_count_and_hash() -> None:
    ids = [b"\xff" * 32, b"\x02" + b"\x00" * 31]
    vector = ItemVector([(1, ids[0]), (2, ids[1])])
    wrapped = (1).to_bytes(32, "little")
    assert fingerprint(vector, 0, 2) == sha256(wrapped + b"\x02").digest()[:16]
    assert fingerprint(vector, 0, 0) == sha256(bytes(32) + b"\x00").digest()[:16]


def test_times_are_told_as_differences_and_prefixes_are_short() -> None:
    items = [(100, bytes([n]) + bytes(31)) for n in range(16)] + [
        (200 + n, bytes([n]) * 32) for n in range(16)
    ]
    ranges = list(read_ranges(Initiator(ItemVector(items)).begin()))
    assert len(ranges) == 16
    assert (ranges[0].upper.time, ranges[0].upper.prefix) == (100, b"\x02")
    assert (ranges[7].upper.time, ranges[7].upper.prefix) == (200, b"")
    assert {one.mode for one in ranges} == {1}


@given(st.integers(0, 2**64 - 1), st.binary(max_size=3))
def test_varints(number: int, behind: bytes) -> None:
    written = encode_varint(number)
    assert read_varint(b"x" + written + behind, 1) == (number, 1 + len(written))
    assert len(written) == max(1, -(-number.bit_length() // 7))


def test_a_newer_version_is_answered_with_ours() -> None:
    responder = Responder(ItemVector([(5, b"\x01" * 32)]))
    assert responder.receive(b"\x62 whatever version 2 may be") == b"\x61"
    assert responder.receive(b"\x61") == b"\x61"


def test_the_initiator_speaks_no_older_version() -> None:
    with pytest.raises(RemoteError, match="version 0"):
        Initiator(ItemVector([])).receive(b"\x60")


# --- Hostile messages ------------------------------------------------------------------------------------

HUGE = encode_varint(2**64 - 1)
HOSTILE = {
    "empty": b"",
    "no version": b"\x00\x00\x00\x02\x00",
    "cut in a bound": b"\x61\x81",
    "cut before the mode": b"\x61\x00\x00",
    "a list of 2^64 ids": b"\x61\x00\x00\x02" + HUGE,
    "a list of 2^40 ids": b"\x61\x00\x00\x02" + encode_varint(2**40) + bytes(64),
    "a list that is one byte short": b"\x61\x00\x00\x02\x02" + bytes(63),
    "a fingerprint that is cut": b"\x61\x00\x00\x01" + bytes(15),
    "a prefix of 33 bytes": b"\x61\x01\x21" + bytes(33) + b"\x00",
    "a prefix of 2^64 bytes": b"\x61\x01" + HUGE + b"\x00",
    "an unknown mode": b"\x61\x00\x00\x03",
    "a number of eleven digits": b"\x61" + b"\xff" * 10 + b"\x01\x00\x00",
    "a number beyond 64 bits": b"\x61" + b"\x83" + b"\xff" * 8 + b"\x7f\x00\x00",
    "a number with a leading zero": b"\x61\x80\x00\x00\x00",
    "times beyond 64 bits": b"\x61" + (HUGE + b"\x00\x00") * 2,
    "a time that is infinity by sum": b"\x61" + HUGE + b"\x00\x00" + b"\x02\x00\x00",
    "something behind infinity": b"\x61\x00\x00\x00\x00\x00\x00",
    "prefixes that go back": b"\x61\x05\x01\x02\x00\x01\x01\x01\x00",
}


@pytest.mark.parametrize("message", HOSTILE.values(), ids=HOSTILE)
def test_hostile_messages_are_refused_in_both_roles(message: bytes) -> None:
    vector = ItemVector(sorted(item(number, 9) for number in range(100)))
    with pytest.raises(RemoteError):
        Responder(vector).receive(message)
    with pytest.raises(RemoteError):
        Initiator(vector).receive(message)


@given(st.binary(max_size=400))
def test_noise_is_answered_or_refused(noise: bytes) -> None:
    vector = ItemVector(sorted(item(number, 9) for number in range(100)))
    for role in (Responder(vector), Initiator(vector)):
        try:
            said = role.receive(b"\x61" + noise)
        except RemoteError:
            continue
        answer = said.reply if isinstance(said, Step) else said
        assert len(answer or b"") <= 60_000


def test_an_answer_stays_within_its_frame_however_much_is_asked() -> None:
    """Thousands of ranges whose fingerprints all differ ask for a split of each."""
    vector = ItemVector(
        sorted((1000 + n, sha256(bytes([n % 256, n // 256])).digest()) for n in range(50_000))
    )
    asked = b"\x61" + encode_varint(1001)
    asked += b"\x00\x01" + bytes(16)
    for _ in range(3000):
        asked += encode_varint(1 + 16) + b"\x00\x01" + bytes(16)
    answer = Responder(vector, MIN_FRAME_BYTES).receive(asked)
    assert len(answer) <= MIN_FRAME_BYTES
    assert list(read_ranges(answer))[-1].mode == 1, "the rest is one fingerprint"


def test_a_responder_cannot_make_us_remember_without_end() -> None:
    listed = b"\x61\x00\x00\x02" + encode_varint(11) + b"".join(bytes([n]) * 32 for n in range(11))
    with pytest.raises(RemoteError, match="more ids"):
        Initiator(ItemVector([]), max_need=10).receive(listed)


def test_frames_have_a_smallest_size() -> None:
    with pytest.raises(LocalError):
        Responder(ItemVector([]), MIN_FRAME_BYTES - 1)
