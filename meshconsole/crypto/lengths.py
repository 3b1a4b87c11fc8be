"""Length checks before every call into a provider. Pure.

liboqs-python pads short inputs with zeros and signs or decapsulates garbage without complaint, so
the checks stand before the call, for both providers alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.errors import LocalError, RemoteError

if TYPE_CHECKING:
    from meshconsole.crypto.suites import Suite

MAX_CONTEXT_LEN = 255
"""FIPS 204 §5.2."""


def check_context(context: bytes) -> None:
    """An empty context is what TLS and X.509 sign under, so ours never is."""
    if not 0 < len(context) <= MAX_CONTEXT_LEN:
        raise LocalError("An ML-DSA context must have between 1 and 255 bytes.")


def check_seed(seed: bytes, length: int) -> None:
    if len(seed) != length:
        raise LocalError(f"A key seed must have {length} bytes.")


def check_wrap(suite: Suite, ciphertext: bytes) -> None:
    if len(ciphertext) < suite.wrap_overhead:
        raise RemoteError("bad-wrap", "A wrapped secret is too short.")
