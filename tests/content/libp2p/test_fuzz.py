"""Whatever a peer says, a decoder keeps its promise."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.content.libp2p.fuzzing import TARGETS, feed
from tests.content.libp2p.fuzzing_seeds import SEEDS


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A right message with a stretch of it replaced."""
    seed = draw(st.sampled_from(SEEDS))
    start = draw(st.integers(1, len(seed)))
    end = min(len(seed), start + draw(st.integers(0, 8)))
    return seed[:start] + draw(st.binary(max_size=8)) + seed[end:]


@settings(max_examples=300, deadline=None)
@given(damaged())
def test_damaged_messages(said: bytes) -> None:
    feed(said)


@pytest.mark.parametrize("seed", SEEDS, ids=range(len(SEEDS)))
def test_right_messages_are_taken(seed: bytes) -> None:
    """But for handshakes, whose other half is another one's."""
    if TARGETS[seed[0]].__name__ not in ("_listening", "_dialling"):
        TARGETS[seed[0]](seed[1:])


def test_every_truncation() -> None:
    for seed in SEEDS:
        for length in range(1, len(seed), 1 + len(seed) // 60):
            feed(seed[:length])
