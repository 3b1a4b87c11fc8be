"""Key derivation: strong by default, bounded on reading, the same for one passphrase however typed."""

from __future__ import annotations

import pytest

from meshconsole.core.errors import CorruptData, Refused
from meshconsole.crypto.passphrase import (
    CEILING,
    MAX_PASSPHRASE_LEN,
    SMALL,
    STANDARD,
    KdfParams,
    calibrate,
    check_params,
    derive,
    same_passphrase,
)

from .conftest import CHEAP

SALT = b"s" * 16
GIB = 1 << 30


def test_it_is_argon2id() -> None:
    """The test vector of RFC 9106 §5.3 has a secret and associated data; this one is the reference
    program's: argon2id, version 19, t=2, m=65536, p=1, "password", "somesalt"."""
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    known = Argon2id(salt=b"somesalt", length=32, iterations=2, lanes=1, memory_cost=65536)
    digest = known.derive(b"password")
    assert digest.hex() == "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7"


def test_the_floor_is_a_real_derivation() -> None:
    one = derive("passphrase", SALT, SMALL)
    assert len(one) == 32
    assert one != derive("passphrasE", SALT, SMALL)


def test_every_input_counts() -> None:
    keys = {
        derive("a", SALT, CHEAP),
        derive("b", SALT, CHEAP),
        derive("a", b"t" * 16, CHEAP),
        derive("a", SALT, KdfParams(128, 1, 1)),
        derive("a", SALT, KdfParams(64, 2, 1)),
        derive("a", SALT, KdfParams(64, 1, 2)),
    }
    assert len(keys) == 6


def test_one_passphrase_in_two_unicode_forms_is_one() -> None:
    assert derive("caf\u00e9", SALT, CHEAP) == derive("cafe\u0301", SALT, CHEAP)
    assert same_passphrase("caf\u00e9", "cafe\u0301")
    assert not same_passphrase("a", "A")


@pytest.mark.parametrize("passphrase", ["", "x" * (MAX_PASSPHRASE_LEN + 1), "\ud800"])
def test_an_impossible_passphrase_is_refused(passphrase: str) -> None:
    with pytest.raises(Refused):
        derive(passphrase, SALT, CHEAP)


@pytest.mark.parametrize("params", [SMALL, STANDARD, CEILING])
def test_sound_parameters_pass(params: KdfParams) -> None:
    check_params(params)


@pytest.mark.parametrize(
    "params",
    [
        KdfParams(CEILING.memory_kib + 1, 2, 1),
        KdfParams(1 << 40, 2, 1),
        KdfParams(SMALL.memory_kib, CEILING.iterations + 1, 1),
        KdfParams(SMALL.memory_kib, 1 << 31, 1),
        KdfParams(SMALL.memory_kib, 2, CEILING.lanes + 1),
    ],
)
def test_a_planted_bomb_is_refused_before_anything_is_derived(params: KdfParams) -> None:
    with pytest.raises(CorruptData, match="more memory or time"):
        check_params(params)


@pytest.mark.parametrize(
    "params",
    [
        KdfParams(SMALL.memory_kib - 1, 2, 1),
        KdfParams(SMALL.memory_kib, 1, 1),
        KdfParams(SMALL.memory_kib, 2, 0),
        KdfParams(-1, -1, -1),
    ],
)
def test_weak_parameters_are_refused(params: KdfParams) -> None:
    with pytest.raises(CorruptData, match="too weak"):
        check_params(params)


@pytest.mark.parametrize(
    ("memory", "seconds", "expected"),
    [
        (4 * GIB, 0.15, KdfParams(STANDARD.memory_kib, 15, 4)),
        (4 * GIB, 0.75, STANDARD),
        (4 * GIB, 30.0, SMALL),
        (4 * GIB, 1e-9, KdfParams(STANDARD.memory_kib, CEILING.iterations, 4)),
        (GIB // 2, 0.1, KdfParams(SMALL.memory_kib, 15, 1)),
        (GIB // 2, 9.0, SMALL),
    ],
    ids=["fast", "as wanted", "slow", "absurdly fast", "small", "small and slow"],
)
def test_calibration_aims_between_floor_and_ceiling(memory: int, seconds: float, expected: KdfParams) -> None:
    params = calibrate(total_memory=memory, measure=lambda _: seconds)
    assert params == expected
    check_params(params)


@pytest.mark.parametrize("pace", [0.1, 0.2, 0.5, 0.99, 1.01, 1.5, 2.0, 3.0, 5.0])
def test_unlocking_takes_between_half_a_second_and_one_on_any_machine(pace: float) -> None:
    """`pace` is what the standard costs there, in seconds; memory and iterations count in proportion."""

    def seconds(params: KdfParams) -> float:
        full = STANDARD.memory_kib * STANDARD.iterations
        return pace * params.memory_kib * params.iterations / full

    assert 0.5 <= seconds(calibrate(total_memory=4 * GIB, measure=seconds)) <= 1.0


def test_calibration_measures_this_machine() -> None:
    params = calibrate(total_memory=GIB // 2)
    check_params(params)
    assert params.memory_kib == SMALL.memory_kib
