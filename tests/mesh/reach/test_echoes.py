"""Echoes find their way through nodes that are not linked to each other, once each, and come back."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.errors import RemoteError
from meshconsole.mesh.reach.echoes import (
    ECHOES_PER_S,
    MAX_HOPS,
    Echo,
    Echoed,
    Echoes,
    Message,
    decode,
    encode,
)

A, B, C, D = (letter * 64 for letter in "abcd")
ID = b"12345678"


class Net:
    """Nodes in memory; `sent` are all messages that any of them has sent."""

    def __init__(self, *pairs: tuple[str, str]) -> None:
        names = {name for pair in pairs for name in pair}
        self.neighbours = {
            name: [o for pair in pairs for o in pair if name in pair and o != name] for name in names
        }
        self.nodes = {name: Echoes(name) for name in names}
        self.sent: list[tuple[str, str, Message]] = []

    def ask(self, source: str, target: str) -> tuple[str, ...] | None:
        """The way that the answer tells; None if there is no answer."""
        waiting = deque(
            (source, to, m) for to, m in self.nodes[source].ask(ID, target, self.neighbours[source])
        )
        came_back = None
        while waiting:
            sender, receiver, message = waiting.popleft()
            self.sent.append((sender, receiver, message))
            node, around = self.nodes[receiver], self.neighbours[receiver]
            message = decode(encode(message))
            if isinstance(message, Echo):
                out: list[tuple[str, Message]] = node.receive_echo(sender, message, around, 0.0, 5)
            else:
                passed = node.receive_echoed(sender, message)
                if isinstance(passed, Echoed):
                    assert came_back is None
                    came_back = tuple(step.hex() for step in passed.path)
                    continue
                out = passed
            waiting.extend((receiver, to, each) for to, each in out)
        return came_back


def test_a_neighbour_is_asked_straight_and_nobody_else() -> None:
    net = Net((A, B), (A, C), (B, C))
    assert net.ask(A, B) == (A, B)
    assert len(net.sent) == 2


def test_a_far_device_is_found_along_a_line() -> None:
    assert Net((A, B), (B, C), (C, D)).ask(A, D) == (A, B, C, D)


def test_in_a_ring_the_answer_comes_once_and_echoes_end() -> None:
    net = Net((A, B), (B, C), (C, D), (D, A))
    assert net.ask(A, C) in ((A, B, C), (A, D, C))
    assert len(net.sent) <= 8


def test_nobody_answers_for_a_device_that_is_not_there() -> None:
    assert Net((A, B), (B, C)).ask(A, D) is None


def test_an_echo_goes_so_far_and_no_farther() -> None:
    names = [f"{number:064x}" for number in range(MAX_HOPS + 3)]
    pairs = list(pairwise(names))
    assert Net(*pairs).ask(names[0], names[MAX_HOPS + 1]) is not None
    assert Net(*pairs).ask(names[0], names[MAX_HOPS + 2]) is None


def test_who_passes_an_echo_on_must_say_so() -> None:
    with pytest.raises(RemoteError):
        Echoes(B).receive_echo(C, Echo(ID, bytes.fromhex(B), (bytes.fromhex(A),)), [], 0.0, 0)


def test_a_neighbour_that_floods_is_not_served() -> None:
    node = Echoes(B)
    echoes = [
        Echo(number.to_bytes(8, "big"), bytes.fromhex(B), (bytes.fromhex(A),)) for number in range(1000)
    ]
    answered = sum(len(node.receive_echo(A, echo, [], 0.0, 0)) for echo in echoes)
    assert answered <= 2 * ECHOES_PER_S + 1


def test_an_answer_that_nobody_asked_for_or_a_second_one_is_dropped() -> None:
    node = Echoes(A)
    answer = Echoed(ID, (bytes.fromhex(A), bytes.fromhex(B)), 0)
    assert node.receive_echoed(B, answer) == []
    node.ask(ID, B, [B])
    assert node.receive_echoed(C, answer) == []
    assert node.receive_echoed(B, answer) is answer
    assert node.receive_echoed(B, answer) == []


@given(st.binary(max_size=400))
def test_any_bytes_are_an_echo_or_an_error_of_the_peer(data: bytes) -> None:
    with suppress(RemoteError):
        decode(data)
