"""age files: opened by another age implementation in tests/e2e/test_recovery.py; here, what is refused."""

from __future__ import annotations

import pyrage
import pytest

from meshconsole.core.errors import Refused
from meshconsole.crypto.agefile import age_encrypt


def test_for_a_recipient() -> None:
    identity = pyrage.x25519.Identity.generate()
    sealed = age_encrypt(b"secret", recipients=[f" {identity.to_public()}\n"])
    assert sealed.startswith(b"-----BEGIN AGE ENCRYPTED FILE-----")
    assert pyrage.decrypt(sealed, [identity]) == b"secret"
    assert b"secret" not in sealed


@pytest.mark.slow
def test_for_a_passphrase() -> None:
    sealed = age_encrypt(b"secret", passphrase="a long passphrase")
    assert pyrage.passphrase.decrypt(sealed, "a long passphrase") == b"secret"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "one of the two"),
        ({"passphrase": "a long passphrase", "recipients": ["age1x"]}, "one of the two"),
        ({"passphrase": "short"}, "at least 8"),
        ({"recipients": ["age1nonsense"]}, "no age recipient"),
        ({"recipients": [""]}, "no age recipient"),
        ({"recipients": ["AGE-SECRET-KEY-1QQQQ"]}, "no age recipient"),
    ],
)
def test_what_is_refused(options: dict[str, str], reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        age_encrypt(b"secret", **options)
