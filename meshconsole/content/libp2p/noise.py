"""The handshake Noise_XX_25519_ChaChaPoly_SHA256 with libp2p's payload, and the ciphers after it. Pure.

    -> e
    <- e, ee, s, es, payload
    -> s, se, payload

The payload is the peer's public key and its signature over the static Noise key, so that the keys of
this handshake are worth nothing in another. `handshake` is a generator: it yields messages to send and
is sent those received. Sources: noiseprotocol.org revision 34 §5, §7; libp2p/specs, noise.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from meshconsole.content.formats.protobuf import BYTES, bytes_field, expect, fields
from meshconsole.content.libp2p.keys import PublicKey
from meshconsole.core.errors import RemoteError

if TYPE_CHECKING:
    from meshconsole.content.libp2p.keys import OwnKey, PeerId

PROTOCOL = b"Noise_XX_25519_ChaChaPoly_SHA256"
SIGNED_PREFIX = b"noise-libp2p-static-key:"
KEY_BYTES = 32
TAG_BYTES = 16
MAX_HANDSHAKE_BYTES = 8192
"""Of one message: an RSA key of the largest size and its signature fit."""
MAX_MESSAGE_BYTES = 65_535
MAX_PLAIN_BYTES = MAX_MESSAGE_BYTES - TAG_BYTES


class Cipher:
    """One direction. Noise §5.1: the nonce counts messages."""

    def __init__(self, key: bytes) -> None:
        self._aead = ChaCha20Poly1305(key)
        self._count = 0

    def seal(self, plain: bytes | memoryview, context: bytes = b"") -> bytes:
        return self._aead.encrypt(self._nonce(), plain, context)

    def open(self, sealed: bytes, context: bytes = b"") -> bytes:
        """Raises RemoteError("bad-noise")."""
        try:
            return self._aead.decrypt(self._nonce(), sealed, context)
        except InvalidTag:
            raise RemoteError("bad-noise", "A message of the peer was altered on the way.") from None

    def _nonce(self) -> bytes:
        nonce = b"\0\0\0\0" + self._count.to_bytes(8, "little")
        self._count += 1
        return nonce


@dataclass(frozen=True, slots=True)
class Secured:
    peer: PeerId
    sending: Cipher
    receiving: Cipher


Handshake = Generator[bytes | None, bytes, Secured]
"""Yields a message to send, or None where one must be received; returns the outcome."""


def handshake(own: OwnKey, *, dialled: bool) -> Handshake:
    """Raises RemoteError("bad-noise" | "bad-key" | "bad-protobuf" | "bad-varint")."""
    state = _State()
    static, ephemeral = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    static_public = static.public_key().public_bytes_raw()
    ephemeral_public = ephemeral.public_key().public_bytes_raw()
    payload = bytes_field(1, own.encoded) + bytes_field(2, own.sign(SIGNED_PREFIX + static_public))
    if dialled:
        state.mix_hash(ephemeral_public)
        state.mix_hash(b"")
        yield ephemeral_public
        received = _Received((yield None))
        their_ephemeral = received.take(KEY_BYTES)
        state.mix_hash(their_ephemeral)
        state.mix_key(_shared(ephemeral, their_ephemeral))
        their_static = state.open(received.take(KEY_BYTES + TAG_BYTES))
        state.mix_key(_shared(ephemeral, their_static))
        peer = _check_payload(state.open(received.rest()), their_static)
        sealed_static = state.seal(static_public)
        state.mix_key(_shared(static, their_ephemeral))
        yield sealed_static + state.seal(payload)
        return Secured(peer, *state.split())
    received = _Received((yield None))
    their_ephemeral = received.take(KEY_BYTES)
    state.mix_hash(their_ephemeral)
    state.mix_hash(received.rest())
    state.mix_hash(ephemeral_public)
    state.mix_key(_shared(ephemeral, their_ephemeral))
    sealed_static = state.seal(static_public)
    state.mix_key(_shared(static, their_ephemeral))
    yield ephemeral_public + sealed_static + state.seal(payload)
    received = _Received((yield None))
    their_static = state.open(received.take(KEY_BYTES + TAG_BYTES))
    state.mix_key(_shared(ephemeral, their_static))
    peer = _check_payload(state.open(received.rest()), their_static)
    receiving, sending = state.split()
    return Secured(peer, sending, receiving)


class _State:
    """Noise §5.2, the symmetric state."""

    def __init__(self) -> None:
        # The protocol's name has exactly the length of a hash, so it is used as it is.
        self._hash = self._chain = PROTOCOL
        self._cipher: Cipher | None = None
        self.mix_hash(b"")  # libp2p has no prologue

    def mix_hash(self, data: bytes) -> None:
        self._hash = hashlib.sha256(self._hash + data).digest()

    def mix_key(self, shared: bytes) -> None:
        self._chain, key = _hkdf(self._chain, shared)
        self._cipher = Cipher(key)

    def seal(self, plain: bytes) -> bytes:
        assert self._cipher is not None
        sealed = self._cipher.seal(plain, self._hash)
        self.mix_hash(sealed)
        return sealed

    def open(self, sealed: bytes) -> bytes:
        assert self._cipher is not None
        plain = self._cipher.open(sealed, self._hash)
        self.mix_hash(sealed)
        return plain

    def split(self) -> tuple[Cipher, Cipher]:
        """The dialler's direction first."""
        first, second = _hkdf(self._chain, b"")
        return Cipher(first), Cipher(second)


class _Received:
    def __init__(self, message: bytes) -> None:
        self._message = message

    def take(self, count: int) -> bytes:
        if len(self._message) < count:
            raise RemoteError("bad-noise", "A message of the handshake is too short.")
        taken, self._message = self._message[:count], self._message[count:]
        return taken

    def rest(self) -> bytes:
        return self.take(len(self._message))


def _shared(private: X25519PrivateKey, public: bytes) -> bytes:
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:  # a point of low order
        raise RemoteError("bad-noise", "The peer's key makes no secret.") from None


def _hkdf(chain: bytes, material: bytes) -> tuple[bytes, bytes]:
    """Noise §4.3 with two outputs."""
    secret = hmac.digest(chain, material, "sha256")
    first = hmac.digest(secret, b"\x01", "sha256")
    return first, hmac.digest(secret, first + b"\x02", "sha256")


def _check_payload(payload: bytes, static: bytes) -> PeerId:
    key = signature = b""
    for number, wire, _, value in fields(payload):
        if number in (1, 2):
            expect(number, wire, BYTES)
            if number == 1:
                key = bytes(value)
            else:
                signature = bytes(value)
    public = PublicKey.decode(key)
    if not public.verifies(signature, SIGNED_PREFIX + static):
        raise RemoteError("bad-noise", "The peer's signature over its key is wrong.")
    return public.peer
