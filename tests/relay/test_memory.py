from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.relay.memory import CACHES, REST_BYTES, caches_within

if TYPE_CHECKING:
    from meshconsole.core.sections import PerformanceMode


@given(st.sampled_from(list(CACHES)), st.integers(1, 1 << 31))
def test_caches_fit_into_the_owners_memory_but_are_never_less_than_the_smallest(
    mode: PerformanceMode, memory: int
) -> None:
    caches = caches_within(mode, memory)
    for kib, most, least in zip(caches, CACHES[mode], CACHES["saver"], strict=True):
        assert least <= kib <= most
    least_kib = sum(CACHES["saver"])
    assert sum(caches) <= max(0, memory - REST_BYTES) // 2048 + least_kib


@pytest.mark.parametrize("mode", CACHES)
def test_without_a_limit_and_with_much_memory_they_are_the_modes(mode: PerformanceMode) -> None:
    assert caches_within(mode, 0) == caches_within(mode, 1 << 40) == CACHES[mode]
