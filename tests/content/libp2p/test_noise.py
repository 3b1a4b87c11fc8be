from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.content.libp2p.noise import Cipher, handshake
from meshconsole.core.errors import RemoteError
from tests.content.libp2p.peers import key, shake

LEFT, RIGHT = key("left"), key("right")


def test_both_sides_know_each_other_and_share_two_directions() -> None:
    dialler, listener, _ = shake(LEFT, RIGHT)
    assert (dialler.peer, listener.peer) == (RIGHT.peer, LEFT.peer)
    assert listener.receiving.open(dialler.sending.seal(b"there")) == b"there"
    assert dialler.receiving.open(listener.sending.seal(b"back")) == b"back"


def test_a_message_opens_once_and_in_its_turn() -> None:
    first, second = Cipher(bytes(32)), Cipher(bytes(32))
    one, two = first.seal(b"one"), first.seal(b"two")
    with pytest.raises(RemoteError, match="altered"):
        second.open(two)
    assert second.open(two) == b"two"  # the nonce counts what was tried
    with pytest.raises(RemoteError, match="altered"):
        second.open(one)


def listener_takes(first: bytes, last: bytes | None) -> bytes:
    """What a listener answers to a first message, or raises at a last one that belongs to another."""
    steps = handshake(RIGHT, dialled=False)
    next(steps)
    answer = steps.send(first)
    assert answer is not None
    if last is not None:
        next(steps)
        steps.send(last)
    return answer


def test_the_end_of_another_handshake_is_refused() -> None:
    _, _, told = shake(LEFT, RIGHT)
    with pytest.raises(RemoteError):
        listener_takes(told[0], told[2])


def test_a_key_that_makes_no_secret_is_refused() -> None:
    with pytest.raises(RemoteError, match="no secret"):
        listener_takes(bytes(32), None)


def test_every_byte_of_the_answer_is_under_the_seal() -> None:
    for place in range(0, 250, 3):
        dialler, listener = handshake(LEFT, dialled=True), handshake(RIGHT, dialled=False)
        first = next(dialler)
        assert first is not None
        next(dialler)
        next(listener)
        answer = bytearray(listener.send(first) or b"")
        answer[place % len(answer)] ^= 1
        with pytest.raises(RemoteError):
            dialler.send(bytes(answer))


def test_every_truncation_of_the_answer_is_refused() -> None:
    _, _, told = shake(LEFT, RIGHT)
    for length in range(0, len(told[1]), 7):
        dialler = handshake(LEFT, dialled=True)
        next(dialler)
        next(dialler)
        with pytest.raises(RemoteError):
            dialler.send(told[1][:length])


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes(data: bytes, dialled: bool) -> None:
    steps = handshake(LEFT, dialled=dialled)
    while next(steps) is not None:
        continue
    try:
        steps.send(data)
    except RemoteError:
        return
    assert not dialled
    assert len(data) >= 32
