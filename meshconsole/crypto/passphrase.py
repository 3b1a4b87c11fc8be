"""From a passphrase to a key: Argon2id (RFC 9106) with parameters that fit the machine."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import msgspec
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from meshconsole.core.errors import CorruptData, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

SALT_LEN = 16
MAX_PASSPHRASE_LEN = 1024
TARGET_S = 0.75
LONGEST_S = 1.0
MEASURES = 3
_MIB = 1024
_GIB = 1 << 30


class KdfParams(msgspec.Struct, frozen=True):
    memory_kib: int
    iterations: int
    lanes: int


SMALL = KdfParams(19 * _MIB, 2, 1)
"""The floor, for machines with less than 1 GiB (OWASP's minimum for Argon2id)."""

STANDARD = KdfParams(64 * _MIB, 3, 4)
"""RFC 9106 §4, second recommended option."""

BETWEEN = KdfParams(32 * _MIB, 3, 4)
"""For machines that need more than a second for the standard."""

CEILING = KdfParams(256 * _MIB, 24, 8)
"""More than this is refused on reading: a planted file must not exhaust a small node."""


def derive(passphrase: str, salt: bytes, params: KdfParams) -> bytes:
    """32 bytes. Takes about 0.1 to 1 s, the memory it says, and lets other threads run meanwhile."""
    argon2 = Argon2id(
        salt=salt,
        length=32,
        iterations=params.iterations,
        lanes=params.lanes,
        memory_cost=params.memory_kib,
    )
    return argon2.derive(_passphrase_bytes(passphrase))


def same_passphrase(one: str, other: str) -> bool:
    """Whether both give the same bytes."""
    return _passphrase_bytes(one) == _passphrase_bytes(other)


def check_params(params: KdfParams) -> None:
    """Raises CorruptData for parameters below the floor or above the ceiling."""
    if params.memory_kib < SMALL.memory_kib or params.iterations < SMALL.iterations or params.lanes < 1:
        raise CorruptData("The keystore asks for a key derivation that is too weak.")
    if (
        params.memory_kib > CEILING.memory_kib
        or params.iterations > CEILING.iterations
        or params.lanes > CEILING.lanes
    ):
        raise CorruptData("The keystore asks for more memory or time than a key derivation may take.")


def calibrate(
    total_memory: int | None = None, measure: Callable[[KdfParams], float] | None = None
) -> KdfParams:
    """Parameters that take 0.5 to 1 s on this machine, never below the floor.

    The most memory that leaves time for its least iterations, then as many iterations as fit.
    `total_memory` in bytes and `measure` (seconds for given parameters) are those of this machine
    unless given.
    """
    memory = total_memory if total_memory is not None else _total_memory()
    for base in (STANDARD, BETWEEN, SMALL) if memory >= _GIB else (SMALL,):
        # The least of some: what else the machine does at this moment must not make the key weaker.
        seconds = min((measure or _measure)(base) for _ in range(MEASURES))
        if seconds <= LONGEST_S:
            break
    per_iteration = max(seconds, 1e-6) / base.iterations
    iterations = min(max(base.iterations, round(TARGET_S / per_iteration)), CEILING.iterations)
    return KdfParams(base.memory_kib, iterations, base.lanes)


def _measure(params: KdfParams) -> float:
    start = time.perf_counter()
    derive("calibration", bytes(SALT_LEN), params)
    return time.perf_counter() - start


def _total_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _passphrase_bytes(passphrase: str) -> bytes:
    """NFC, as RFC 8265 §4.2 asks: one passphrase typed on two keyboards gives the same bytes."""
    if not passphrase:
        raise Refused("invalid", "The passphrase is empty.")
    if len(passphrase) > MAX_PASSPHRASE_LEN:
        raise Refused("invalid", f"The passphrase has more than {MAX_PASSPHRASE_LEN} characters.")
    try:
        if passphrase.isascii():
            return passphrase.encode()
        import unicodedata  # only here: its tables take memory that a running node can do without

        return unicodedata.normalize("NFC", passphrase).encode()
    except UnicodeEncodeError:
        raise Refused("invalid", "The passphrase has a character that cannot be encoded.") from None
