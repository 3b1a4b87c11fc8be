"""STUN's Binding question and its answers, with the RFC's own example."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.mesh.reach.asking import stun_server
from meshconsole.mesh.reach.stun import answer, question

TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
# RFC 5769 §2.2 and §2.3: the server saw 192.0.2.1:32853 and [2001:db8:1234:5678:11:2233:4455:6677]:32853.
OVER_IPV4 = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96"
)
OVER_IPV6 = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a1470113a9fa"
    "a5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c"
)


def test_the_answers_of_the_rfc_are_read() -> None:
    assert answer(OVER_IPV4, TRANSACTION) == "192.0.2.1:32853"
    assert answer(OVER_IPV6, TRANSACTION) == "[2001:db8:1234:5678:11:2233:4455:6677]:32853"


def test_an_answer_to_another_question_is_none() -> None:
    assert answer(OVER_IPV4, bytes(12)) is None
    assert answer(question(TRANSACTION), TRANSACTION) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_passed_over(data: bytes) -> None:
    answer(data, TRANSACTION)
    answer(OVER_IPV4[:20] + data, TRANSACTION)


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("stun:stun.example:3478", ("stun.example", 3478, False)),
        ("turn:user:pass@10.0.0.1:5000?transport=tcp", ("10.0.0.1", 5000, True)),
        ("stun:10.0.0.1", ("10.0.0.1", 3478, False)),
        ("turn:u:p@[2001:db8::1]:3478", ("2001:db8::1", 3478, False)),
    ],
)
def test_servers_are_found_in_their_urls(url: str, server: tuple[str, int, bool]) -> None:
    assert stun_server(url) == server
