from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.content.formats.cid import Cid
from meshconsole.content.formats.protobuf import bytes_field, varint_field
from meshconsole.content.libp2p.keys import LIBP2P_KEY, RSA, SECP256K1, OwnKey, PeerId, PublicKey
from meshconsole.core.errors import RemoteError


def encoded(kind: int, raw: bytes) -> bytes:
    return varint_field(1, kind) + bytes_field(2, raw)


def test_an_own_key_signs_what_its_public_key_verifies() -> None:
    own = OwnKey(bytes(range(32)))
    public = PublicKey.decode(own.encoded)
    assert public.peer == own.peer
    assert public.verifies(own.sign(b"word"), b"word")
    assert not public.verifies(own.sign(b"word"), b"other")
    assert "12D3KooW" in repr(own)


def test_an_ed25519_peer_is_named_by_its_key_itself() -> None:
    own = OwnKey(bytes(32))
    assert str(own.peer).startswith("12D3KooW")
    assert own.encoded in own.peer.multihash
    as_cid = Cid(1, LIBP2P_KEY, 0, own.encoded)
    assert PeerId.parse(str(own.peer)) == PeerId.parse(str(as_cid)) == own.peer


def test_secp256k1() -> None:
    private = ec.generate_private_key(ec.SECP256K1())
    raw = private.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    public = PublicKey.decode(encoded(SECP256K1, raw))
    assert str(public.peer).startswith("16Uiu2")
    assert public.verifies(private.sign(b"word", ec.ECDSA(SHA256())), b"word")
    assert not public.verifies(b"\x30\x00", b"word")


def test_rsa() -> None:
    private = rsa.generate_private_key(65537, 2048)
    raw = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    public = PublicKey.decode(encoded(RSA, raw))
    assert str(public.peer).startswith("Qm")
    assert public.verifies(private.sign(b"word", padding.PKCS1v15(), SHA256()), b"word")
    assert not public.verifies(bytes(256), b"word")


def test_a_short_rsa_key_is_refused() -> None:
    raw = (
        rsa.generate_private_key(65537, 1024)
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(RemoteError, match="2048"):
        PublicKey.decode(encoded(RSA, raw))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        varint_field(1, 1),
        encoded(1, bytes(31)),
        encoded(2, bytes(33)),
        encoded(9, bytes(32)),
        bytes(4000),
    ],
)
def test_bad_keys(data: bytes) -> None:
    with pytest.raises(RemoteError):
        PublicKey.decode(data)


@pytest.mark.parametrize("text", ["", "0OIl", "b", "bafkqaaa", "Qm" + "1" * 200, "12D3KooW"])
def test_texts_that_are_no_peer_id(text: str) -> None:
    with pytest.raises(RemoteError, match="peer"):
        PeerId.parse(text)


@given(st.binary(max_size=80))
def test_any_bytes(data: bytes) -> None:
    for decode in (PublicKey.decode, PeerId.decode):
        try:
            decode(data)
        except RemoteError:
            continue
