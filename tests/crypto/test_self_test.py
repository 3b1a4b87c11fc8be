"""A node whose cryptography computes wrongly does not start: each part is broken once here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.core.errors import Fatal
from meshconsole.crypto import self_test as module
from meshconsole.crypto.known_answers import MESSAGE
from meshconsole.crypto.self_test import self_test, sound_provider

if TYPE_CHECKING:
    from meshconsole.crypto.link_credentials import LinkCredentials
    from meshconsole.crypto.suites import Suite


def test_sound_libraries_pass(suite: Suite) -> None:
    self_test(suite)
    assert sound_provider("openssl", suite).name == "openssl"


class OtherArgon2:
    def __init__(self, **_: object) -> None: ...

    def derive(self, _: bytes) -> bytes:
        return bytes(32)


def opens_anything(_key: bytes, _context: bytes, _sealed: bytes) -> bytes:
    return MESSAGE


def refuses_everything(_key: bytes, _context: bytes, _sealed: bytes) -> bytes:
    raise ValueError


@pytest.mark.parametrize(
    ("name", "broken", "part"),
    [
        ("Argon2id", OtherArgon2, "Argon2id"),
        ("unseal", opens_anything, "sealing"),
        ("unseal", refuses_everything, "sealing"),
        ("_SCHNORR_SIGNATURE", "00" * 64, "Nostr"),
        ("_SEALED", "00" * 95, "sealing"),
    ],
)
def test_a_broken_part_is_named(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, name: str, broken: object, part: str
) -> None:
    monkeypatch.setattr(module, name, broken)
    with pytest.raises(Fatal, match=f"self-test fails at .*{part}") as caught:
        sound_provider("openssl", suite)
    assert "nothing is opened" in caught.value.hint


def test_a_tls_library_without_our_groups_is_noticed(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nameless:
        def SSL_CTX_set1_curves_list(self, *_: object) -> int:
            return 0

        def SSL_CTX_set1_sigalgs_list(self, *_: object) -> int:
            return 1

    monkeypatch.setattr("OpenSSL.SSL._lib", Nameless())
    with pytest.raises(Fatal, match="post-quantum TLS"):
        self_test(suite)


def test_a_pyopenssl_that_lost_the_private_name_is_noticed(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> LinkCredentials:
        raise AttributeError("SSL_CTX_set1_curves_list")

    monkeypatch.setattr(module, "LinkCredentials", gone)
    with pytest.raises(Fatal, match="post-quantum TLS: AttributeError"):
        self_test(suite)
