"""NIP-44 version 2: the published vectors in full, and what is no payload."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from coincurve import PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from meshconsole.core.errors import LocalError, MeshconsoleError, Refused, RemoteError
from meshconsole.crypto.encoding import b64, unb64
from meshconsole.crypto.nip44 import (
    MAX_TEXT_BYTES,
    _chacha20,
    _mac,
    conversation_key,
    decrypt,
    encrypt,
    message_keys,
    padded_size,
)
from meshconsole.crypto.schnorr import public_key
from tests.crypto.vectors import load

unhex = bytes.fromhex
KEY = bytes(range(32))


def vectors(part: str, name: str) -> Any:  # noqa: ANN401
    found = load("nip44.vectors.json")["v2"][part][name]
    assert found
    return found


def npub(secret: str) -> str:
    return PrivateKey(unhex(secret)).public_key.format()[1:].hex()


def test_conversation_keys_of_the_specification() -> None:
    cases = vectors("valid", "get_conversation_key")
    for case in cases:
        assert conversation_key(unhex(case["sec1"]), case["pub2"]).hex() == case["conversation_key"]
    assert len(cases) == 35


def test_message_keys_of_the_specification() -> None:
    group = vectors("valid", "get_message_keys")
    for case in group["keys"]:
        keys = message_keys(unhex(group["conversation_key"]), unhex(case["nonce"]))
        expected = [case["chacha_key"], case["chacha_nonce"], case["hmac_key"]]
        assert [part.hex() for part in keys] == expected
    assert len(group["keys"]) == 32


def test_padded_lengths_of_the_specification() -> None:
    cases = vectors("valid", "calc_padded_len")
    assert [(size, padded_size(size)) for size, _ in cases] == [tuple(case) for case in cases]


def test_payloads_of_the_specification() -> None:
    for case in vectors("valid", "encrypt_decrypt"):
        key = conversation_key(unhex(case["sec1"]), npub(case["sec2"]))
        assert key == conversation_key(unhex(case["sec2"]), npub(case["sec1"]))
        assert key.hex() == case["conversation_key"]
        assert encrypt(key, case["plaintext"], unhex(case["nonce"])) == case["payload"]
        assert decrypt(key, case["payload"]) == case["plaintext"]


def test_long_payloads_of_the_specification() -> None:
    for case in vectors("valid", "encrypt_decrypt_long_msg"):
        text, key = case["pattern"] * case["repeat"], unhex(case["conversation_key"])
        assert sha256(text.encode()).hexdigest() == case["plaintext_sha256"]
        payload = encrypt(key, text, unhex(case["nonce"]))
        assert sha256(payload.encode()).hexdigest() == case["payload_sha256"]
        assert decrypt(key, payload) == text


def test_lengths_that_the_specification_refuses() -> None:
    for size in vectors("invalid", "encrypt_msg_lengths"):
        with pytest.raises(Refused):
            encrypt(KEY, "x" * size)


def test_keys_that_the_specification_refuses() -> None:
    for case in vectors("invalid", "get_conversation_key"):
        with pytest.raises((Refused, LocalError)):
            conversation_key(unhex(case["sec1"]), case["pub2"])


def test_payloads_that_the_specification_refuses() -> None:
    cases = vectors("invalid", "decrypt")
    for case in cases:
        with pytest.raises(RemoteError):
            decrypt(unhex(case["conversation_key"]), case["payload"])
    assert len(cases) == 12


@settings(max_examples=60)
@given(st.text(min_size=1, max_size=600))
def test_any_text_comes_through_and_never_twice_alike(text: str) -> None:
    first, second = encrypt(KEY, text), encrypt(KEY, text)
    assert decrypt(KEY, first) == decrypt(KEY, second) == text
    assert first != second


@settings(max_examples=200)
@given(st.text(max_size=300) | st.binary(min_size=90, max_size=400).map(b64))
def test_any_payload_is_refused(payload: str) -> None:
    with pytest.raises(RemoteError):
        decrypt(KEY, payload)


def test_every_changed_byte_is_noticed() -> None:
    raw = unb64(encrypt(KEY, "hold"))
    for at in range(len(raw)):
        with pytest.raises(RemoteError):
            decrypt(KEY, b64(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]))


@pytest.mark.parametrize(
    "padded",
    [
        b"\x00\x00" + bytes(32),
        b"\x00\x21" + b"x" * 32,
        b"\xff\xff" + b"x" * 32,
        b"\x00\x04hold" + bytes(28) + bytes(32),
        b"\x00\x04hold" + bytes(27) + b"\x01",
        b"\x00\x04ho\xff\xfe" + bytes(28),
    ],
)
def test_what_the_other_end_padded_or_spelt_wrongly_is_refused(padded: bytes) -> None:
    """From the other end, who knows the key."""
    nonce = bytes(32)
    keys = message_keys(KEY, nonce)
    sealed = _chacha20(keys, padded)
    with pytest.raises(RemoteError):
        decrypt(KEY, b64(b"\x02" + nonce + sealed + _mac(keys, nonce, sealed)))


def test_the_longest_text_fits_and_wrong_keys_are_our_own_fault() -> None:
    assert len(decrypt(KEY, encrypt(KEY, "x" * MAX_TEXT_BYTES))) == MAX_TEXT_BYTES
    with pytest.raises(LocalError):
        encrypt(KEY[:31], "x")
    with pytest.raises(MeshconsoleError):
        conversation_key(KEY, "zz")
    with pytest.raises(Refused):
        conversation_key(KEY, public_key(KEY) + "00")
