"""Signed events verify, changed ones do not, and keys are read as people write them."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import msgspec
import pytest
from coincurve import PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.errors import LocalError, Refused
from meshconsole.core.event import Event
from meshconsole.crypto.schnorr import (
    note_to_bech32,
    npub_from_bech32,
    npub_to_bech32,
    nsec_from_bech32,
    nsec_to_bech32,
    public_key,
    sign_event,
    verify_event,
    verify_signature,
)

from .vectors import path_of

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = bytes.fromhex("67dea2ed018072d675f5415ecfaed7d2597555e202d85b3d65ea4e58d2d92ffa")
# The example of NIP-19.
PUBKEY = "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e"
NPUB = "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg"
NSEC = "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5"
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

EVENT = sign_event(SECRET, 1, (("t", "mesh"),), "grüße\n", 1_700_000_000)


def test_a_signed_event_verifies() -> None:
    assert EVENT.pubkey == PUBKEY
    assert verify_event(EVENT)


@given(st.text(max_size=50), st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=4))
def test_any_content_verifies(content: str, tags: list[tuple[str, str]]) -> None:
    assert verify_event(sign_event(SECRET, 1, tuple(tags), content, 0))


@pytest.mark.parametrize(
    "change",
    [
        lambda e: msgspec.structs.replace(e, content="grusse"),
        lambda e: msgspec.structs.replace(e, kind=2),
        lambda e: msgspec.structs.replace(e, created_at=e.created_at + 1),
        lambda e: msgspec.structs.replace(e, tags=()),
        lambda e: msgspec.structs.replace(e, tags=(("t", "mesh", ""),)),
        lambda e: msgspec.structs.replace(e, pubkey=public_key(b"\1" * 32)),
        lambda e: msgspec.structs.replace(e, id=e.id[:-1] + ("0" if e.id[-1] != "0" else "1")),
        lambda e: msgspec.structs.replace(e, sig=e.sig[:-1] + ("0" if e.sig[-1] != "0" else "1")),
    ],
    ids=["content", "kind", "time", "no tags", "longer tag", "author", "id", "signature"],
)
def test_a_changed_event_does_not_verify(change: Callable[[Event], Event]) -> None:
    assert not verify_event(change(EVENT))


@pytest.mark.parametrize(
    "change",
    [
        lambda e: msgspec.structs.replace(e, id=e.id.upper()),
        lambda e: msgspec.structs.replace(e, sig=e.sig.upper()),
        lambda e: msgspec.structs.replace(e, sig=e.sig[:2] + " " + e.sig[2:]),
        lambda e: msgspec.structs.replace(e, sig=""),
        lambda e: msgspec.structs.replace(e, sig=e.sig + "00"),
        lambda e: msgspec.structs.replace(e, sig="zz" * 64),
        lambda e: msgspec.structs.replace(e, pubkey=""),
        lambda e: msgspec.structs.replace(e, pubkey="é"),
        lambda e: msgspec.structs.replace(e, content="\ud800"),
    ],
    ids=["ID", "SIG", "space", "none", "longer", "no hex", "no key", "no ascii", "surrogate"],
)
def test_another_spelling_or_nonsense_does_not_verify(change: Callable[[Event], Event]) -> None:
    assert not verify_event(change(EVENT))


def test_a_key_that_is_no_point_does_not_verify() -> None:
    """The id is right for it, so only the signature check is left to refuse."""
    nobody = "f" * 64
    from meshconsole.core.event import event_id

    digest = event_id(nobody, 0, 1, (), "")
    assert not verify_event(Event(digest.hex(), nobody, 0, 1, (), "", EVENT.sig))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_keys_of_another_length_never_reach_the_library(length: int) -> None:
    assert not verify_signature(bytes(length), bytes(64), bytes(32))
    assert not verify_signature(bytes.fromhex(PUBKEY), bytes(2 * length), bytes(32))


@pytest.mark.parametrize(
    "secret",
    [b"", bytes(32), b"\1" * 31, ORDER.to_bytes(32, "big"), b"\xff" * 32],
    ids=["empty", "zero", "short", "order", "above"],
)
def test_secrets_out_of_range_are_our_fault(secret: bytes) -> None:
    with pytest.raises(LocalError):
        sign_event(secret, 1, (), "", 0)
    with pytest.raises(LocalError):
        public_key(secret)


def test_keys_as_in_nip19() -> None:
    assert npub_to_bech32(PUBKEY) == NPUB
    assert npub_from_bech32(NPUB) == PUBKEY
    assert nsec_to_bech32(SECRET) == NSEC
    assert nsec_from_bech32(f" {NSEC}\n") == SECRET
    assert note_to_bech32(EVENT.id).startswith("note1")


def test_hex_is_taken_too() -> None:
    assert npub_from_bech32(PUBKEY.upper()) == PUBKEY
    assert nsec_from_bech32(SECRET.hex()) == SECRET


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (NSEC, "begins with nsec1"),
        (NPUB[:-1] + "q", "checksum"),
        ("x" * 64, "not a Nostr public key"),
        ("", "incomplete"),
        ("npub1w508d6qejxtdg4y5r3zarvary0c5xw7kgcrajx", "checksum"),
    ],
)
def test_what_is_no_public_key_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        npub_from_bech32(text)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(Refused, match="length"):
        npub_from_bech32(npub_to_bech32("00" * 20))


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32])
def test_a_secret_key_out_of_range_is_refused(secret: bytes) -> None:
    with pytest.raises(Refused, match="out of range"):
        nsec_from_bech32(nsec_to_bech32(secret))


def test_vectors_of_bip340() -> None:
    seen = signed = 0
    with path_of("bip340-test-vectors.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            public, message, signature = (
                bytes.fromhex(row[name]) for name in ("public key", "message", "signature")
            )
            valid = row["verification result"] == "TRUE"
            assert verify_signature(public, signature, message) == valid, row["comment"]
            seen += 1
            if row["secret key"] and len(message) == 32:
                key = PrivateKey(bytes.fromhex(row["secret key"]))
                assert key.sign_schnorr(message, bytes.fromhex(row["aux_rand"])) == signature
                assert public_key(bytes.fromhex(row["secret key"])) == public.hex()
                signed += 1
    assert (seen, signed) == (19, 4)
