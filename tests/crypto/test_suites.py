"""The suites' numbers agree with what the libraries produce, and unknown ones are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.core.errors import Refused
from meshconsole.crypto.suites import MC1, MC2, SUITES, suite_by_id

if TYPE_CHECKING:
    from meshconsole.crypto.identity import Identity
    from meshconsole.crypto.suites import Suite


def test_lengths_are_those_of_the_standards(alice: Identity, suite: Suite) -> None:
    assert len(alice.mldsa_public) == suite.mldsa_public_len
    assert len(alice.kem_public) == suite.kem_public_len
    signature = alice.provider.mldsa_sign(suite, alice.mldsa_seed, b"message", b"context")
    assert len(signature) == suite.signature_len
    wrap = alice.provider.hpke_seal(suite, alice.kem_public, b"info", b"")
    assert len(wrap) == suite.wrap_overhead


def test_a_suite_is_found_by_its_number() -> None:
    assert [suite_by_id(suite.id) for suite in SUITES] == [MC1, MC2]


@pytest.mark.parametrize("number", [0, 3, -1, 2**64 - 1])
def test_an_unknown_suite_is_refused(number: int) -> None:
    with pytest.raises(Refused) as caught:
        suite_by_id(number)
    assert caught.value.code == "unsupported"
    assert caught.value.hint


def test_the_two_suites_share_no_post_quantum_part() -> None:
    assert MC1.mldsa != MC2.mldsa
    assert MC1.mlkem != MC2.mlkem
    assert MC1.tls_group != MC2.tls_group
