"""Public keys of libp2p peers, and the peer ids made of them. Pure.

A key is a protobuf of type and data; a peer id is the multihash of those bytes, which is the bytes
themselves where they are short enough. This node's own key is Ed25519; others may have RSA or
secp256k1 keys too. Source: libp2p/specs, peer-ids.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from meshconsole.content.formats.cid import IDENTITY, SHA2_256, Cid
from meshconsole.content.formats.multibase import decode_base32, decode_base58, encode_base58
from meshconsole.content.formats.protobuf import BYTES, VARINT, bytes_field, expect, fields, varint_field
from meshconsole.content.formats.varint import encode_varint
from meshconsole.core.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable

RSA, ED25519, SECP256K1 = 0, 1, 2
LIBP2P_KEY = 0x72
"""The codec of a peer id that is written as a CID."""

MAX_KEY_BYTES = 2048
MAX_PEER_ID_BYTES = 64
MAX_PEER_ID_TEXT = 128
INLINE_BYTES = 42
"""A longer key is named by its hash."""
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192


@dataclass(frozen=True, slots=True)
class PeerId:
    """`multihash` are the bytes on the wire; the text is their base58."""

    multihash: bytes

    @classmethod
    def decode(cls, data: bytes) -> PeerId:
        """Raises RemoteError("bad-peer-id")."""
        if not data or len(data) > MAX_PEER_ID_BYTES:
            raise RemoteError("bad-peer-id", "A peer id has between 1 and 64 bytes.")
        try:
            named = Cid.decode(bytes((1, LIBP2P_KEY)) + data)
        except RemoteError as error:
            raise RemoteError("bad-peer-id", f"This is not a peer id: {error.sentence}") from None
        if named.hash_code not in (IDENTITY, SHA2_256):
            raise RemoteError("bad-peer-id", "A peer id is a key or its sha2-256 hash.")
        return cls(data)

    @classmethod
    def parse(cls, text: str) -> PeerId:
        """Base58 (12D3..., 16Uiu2..., Qm...), or a CID in base32. Raises RemoteError("bad-peer-id")."""
        if len(text) > MAX_PEER_ID_TEXT:
            raise RemoteError("bad-peer-id", f"A peer id has at most {MAX_PEER_ID_TEXT} characters.")
        try:
            if not text.startswith("b"):
                return cls.decode(decode_base58(text))
            data = decode_base32(text[1:])
        except RemoteError as error:
            raise RemoteError("bad-peer-id", f"This is not a peer id: {error.sentence}") from None
        if data[:2] != bytes((1, LIBP2P_KEY)):
            raise RemoteError("bad-peer-id", "This CID does not name a peer.")
        return cls.decode(data[2:])

    def __str__(self) -> str:
        return encode_base58(self.multihash)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """`verify(signature, message)` raises InvalidSignature or ValueError."""

    peer: PeerId
    _verify: Callable[[bytes, bytes], None]

    @classmethod
    def decode(cls, data: bytes) -> PublicKey:
        """Raises RemoteError("bad-key")."""
        if len(data) > MAX_KEY_BYTES:
            raise RemoteError("bad-key", f"A public key is over {MAX_KEY_BYTES} bytes.")
        kind: int | None = None
        raw: bytes | None = None
        for number, wire, integer, value in fields(data):
            if number == 1:
                expect(number, wire, VARINT)
                kind = integer
            elif number == 2:
                expect(number, wire, BYTES)
                raw = bytes(value)
        if kind is None or raw is None:
            raise RemoteError("bad-key", "A public key has no type or no data.")
        try:
            return cls(peer_of_key(data), _verifier(kind, raw))
        except (ValueError, UnsupportedAlgorithm):
            raise RemoteError("bad-key", "The data of a public key does not fit its type.") from None

    def verifies(self, signature: bytes, message: bytes) -> bool:
        try:
            self._verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


class OwnKey:
    """This node's key: Ed25519, from 32 secret bytes. Its `repr` shows the peer id only."""

    def __init__(self, secret: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(secret)
        raw = self._private.public_key().public_bytes_raw()
        self.encoded = varint_field(1, ED25519) + bytes_field(2, raw)
        self.peer = peer_of_key(self.encoded)

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)

    def __repr__(self) -> str:
        return f"<OwnKey {self.peer}>"


def peer_of_key(encoded: bytes) -> PeerId:
    if len(encoded) <= INLINE_BYTES:
        return PeerId(bytes((IDENTITY,)) + encode_varint(len(encoded)) + encoded)
    return PeerId(bytes((SHA2_256, 32)) + hashlib.sha256(encoded).digest())


def _verifier(kind: int, raw: bytes) -> Callable[[bytes, bytes], None]:
    """Raises ValueError or UnsupportedAlgorithm for a bad key, RemoteError for a kind that is not known."""
    if kind == ED25519:
        ed25519 = Ed25519PublicKey.from_public_bytes(raw)
        return ed25519.verify
    if kind == SECP256K1:
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), raw)
        return lambda signature, message: point.verify(signature, message, ec.ECDSA(SHA256()))
    if kind == RSA:
        key = load_der_public_key(raw)
        if not isinstance(key, rsa.RSAPublicKey) or not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            raise RemoteError("bad-key", f"An RSA key has {MIN_RSA_BITS} to {MAX_RSA_BITS} bits.")
        return lambda signature, message: key.verify(signature, message, padding.PKCS1v15(), SHA256())
    raise RemoteError("bad-key", f"Keys of type {kind} are not supported.")
