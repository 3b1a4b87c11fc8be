"""age files: opened by another age implementation in tests/e2e/test_recovery.py; here, what is refused."""

from __future__ import annotations

import base64

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.errors import CorruptData, MeshconsoleError, Refused
from meshconsole.crypto.agefile import age_decrypt, age_encrypt, needs_passphrase


def test_for_a_recipient() -> None:
    identity = pyrage.x25519.Identity.generate()
    sealed = age_encrypt(b"secret", recipients=[f" {identity.to_public()}\n"])
    assert sealed.startswith(b"-----BEGIN AGE ENCRYPTED FILE-----")
    assert pyrage.decrypt(sealed, [identity]) == b"secret"
    assert b"secret" not in sealed


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


IDENTITY = pyrage.x25519.Identity.generate()
FOR_IDENTITY = age_encrypt(b"secret", recipients=[str(IDENTITY.to_public())])
SCRYPT = b"age-encryption.org/v1\n-> scrypt bBjlhJVYZeE4aqUdmtRHfw %d\n" + b"A" * 43 + b"\n--- " + b"A" * 43


def test_it_opens_with_its_identity_and_no_other() -> None:
    assert not needs_passphrase(FOR_IDENTITY)
    assert age_decrypt(FOR_IDENTITY, identities=[str(IDENTITY)]) == b"secret"
    with pytest.raises(Refused, match="does not open"):
        age_decrypt(FOR_IDENTITY, identities=[str(pyrage.x25519.Identity.generate())])
    with pytest.raises(Refused, match="no age identity"):
        age_decrypt(FOR_IDENTITY, identities=[str(IDENTITY.to_public())])
    with pytest.raises(Refused, match="does not open"):
        age_decrypt(FOR_IDENTITY)


@pytest.mark.slow
def test_it_opens_with_its_passphrase() -> None:
    """By others too: each takes a second, as it should."""
    sealed = age_encrypt(b"secret", passphrase="a long passphrase")
    assert needs_passphrase(sealed)
    assert pyrage.passphrase.decrypt(sealed, "a long passphrase") == b"secret"
    assert age_decrypt(sealed, passphrase="a long passphrase") == b"secret"


@pytest.mark.parametrize("factor", [21, 22, 63, 999])
def test_a_file_that_asks_for_hours_or_gigabytes_is_refused_before_it_is_computed(factor: int) -> None:
    for hostile in (SCRYPT % factor, b"\n" + armored(SCRYPT % factor)):
        assert needs_passphrase(hostile)
        with pytest.raises(CorruptData, match=f"2\\^{factor} steps"):
            age_decrypt(hostile, passphrase="a long passphrase")


def armored(data: bytes) -> bytes:
    text = base64.b64encode(data)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    begin, end = b"-----BEGIN AGE ENCRYPTED FILE-----", b"-----END AGE ENCRYPTED FILE-----"
    return b"\n".join([begin, *lines, end, b""])


@given(st.binary() | st.binary().map(lambda more: FOR_IDENTITY[:400] + more) | st.binary().map(armored))
def test_any_bytes_are_opened_or_refused_in_words(data: bytes) -> None:
    with pytest.raises(MeshconsoleError):
        age_decrypt(data, passphrase="a long passphrase", identities=[str(IDENTITY)])
