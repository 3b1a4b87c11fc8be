"""CIDs: names of blocks that are checked against the block's bytes. Pure.

A CID is a version, a codec (how the block is read) and a multihash (what the block hashes to).
Version 0 is a bare sha2-256 multihash in base58 and always means dag-pb. Sources: multiformats/cid,
multiformats/multihash, and the code table of multiformats/multicodec.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from meshconsole.content.formats.multibase import decode_base32, decode_base58, encode_base32, encode_base58
from meshconsole.content.formats.varint import decode_varint, encode_varint
from meshconsole.core.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable

RAW = 0x55
DAG_PB = 0x70
DAG_CBOR = 0x71
CODECS = frozenset({RAW, DAG_PB, DAG_CBOR})
"""Those whose links are known here, so that what is below a block can be kept and fetched."""

IDENTITY = 0x00
SHA2_256 = 0x12
SHA2_512 = 0x13

MAX_DIGEST_BYTES = 128
MAX_CID_BYTES = 3 * 9 + 2 + MAX_DIGEST_BYTES
MAX_CID_TEXT = 256

_HASHES: dict[int, Callable[[bytes], bytes]] = {
    IDENTITY: bytes,
    SHA2_256: lambda data: hashlib.sha256(data).digest(),
    SHA2_512: lambda data: hashlib.sha512(data).digest(),
}
_DIGEST_BYTES = {SHA2_256: 32, SHA2_512: 64}
_V0_PREFIX = bytes((SHA2_256, 32))


class Prefix(msgspec.Struct, frozen=True):
    """A CID without its digest: what Bitswap sends beside a block."""

    version: int
    codec: int
    hash_code: int

    @property
    def is_supported(self) -> bool:
        """Whether blocks with such a CID can be checked here."""
        return self.hash_code in _HASHES

    def encode(self) -> bytes:
        length = _DIGEST_BYTES.get(self.hash_code, 0)
        return b"".join(map(encode_varint, (self.version, self.codec, self.hash_code, length)))

    def name(self, data: bytes) -> Cid:
        """The CID of `data`. Raises RemoteError("unsupported-hash")."""
        function = _HASHES.get(self.hash_code)
        if function is None:
            raise RemoteError("unsupported-hash", f"Hash function 0x{self.hash_code:x} is not supported.")
        if self.hash_code == IDENTITY and len(data) > MAX_DIGEST_BYTES:
            raise RemoteError("bad-cid", f"An identity CID holds more than {MAX_DIGEST_BYTES} bytes.")
        return Cid(self.version, self.codec, self.hash_code, function(data))

    @classmethod
    def decode(cls, data: bytes) -> Prefix:
        """Raises RemoteError("bad-cid")."""
        numbers: list[int] = []
        position = 0
        for _ in range(4):
            number, position = decode_varint(data, position)
            numbers.append(number)
        version, codec, hash_code, length = numbers
        if position != len(data):
            raise RemoteError("bad-cid", "A CID prefix is followed by other bytes.")
        _check(version, codec, hash_code, length)
        return cls(version, codec, hash_code)


class Cid(msgspec.Struct, frozen=True):
    """Equal CIDs are equal in all four fields; two CIDs of one block share their `multihash`."""

    version: int
    codec: int
    hash_code: int
    digest: bytes

    @classmethod
    def of(cls, codec: int, data: bytes) -> Cid:
        """The version 1 CID of `data` with sha2-256."""
        return cls(1, codec, SHA2_256, hashlib.sha256(data).digest())

    @classmethod
    def v0(cls, data: bytes) -> Cid:
        """The version 0 CID of the dag-pb block `data`."""
        return cls(0, DAG_PB, SHA2_256, hashlib.sha256(data).digest())

    @property
    def prefix(self) -> Prefix:
        return Prefix(self.version, self.codec, self.hash_code)

    @property
    def multihash(self) -> bytes:
        return encode_varint(self.hash_code) + encode_varint(len(self.digest)) + self.digest

    def encode(self) -> bytes:
        if self.version == 0:
            return self.multihash
        return encode_varint(self.version) + encode_varint(self.codec) + self.multihash

    def matches(self, data: bytes) -> bool:
        """Whether `data` is the block of this CID. Raises RemoteError("unsupported-hash")."""
        if self.hash_code == IDENTITY:
            return data == self.digest
        return self.prefix.name(data).digest == self.digest

    def __str__(self) -> str:
        if self.version == 0:
            return encode_base58(self.multihash)
        return "b" + encode_base32(self.encode())

    @classmethod
    def decode(cls, data: bytes) -> Cid:
        """The CID that fills all of `data`. Raises RemoteError("bad-cid" | "bad-varint")."""
        cid, end = cls.read(data)
        if end != len(data):
            raise RemoteError("bad-cid", "A CID is followed by other bytes.")
        return cid

    @classmethod
    def read(cls, data: bytes, position: int = 0) -> tuple[Cid, int]:
        """The CID at `position` and the position after it. Raises RemoteError."""
        if data[position : position + 2] == _V0_PREFIX:
            version, codec = 0, DAG_PB
        else:
            version, position = decode_varint(data, position)
            if version != 1:
                raise RemoteError("bad-cid", f"CID version {version} is not known.")
            codec, position = decode_varint(data, position)
        hash_code, position = decode_varint(data, position)
        length, position = decode_varint(data, position)
        _check(version, codec, hash_code, length)
        end = position + length
        if end > len(data):
            raise RemoteError("bad-cid", "A CID ends inside its digest.")
        return cls(version, codec, hash_code, bytes(data[position:end])), end

    @classmethod
    def parse(cls, text: str) -> Cid:
        """The CID written as `text`: base58 of version 0, or "b" base32, or "z" base58.

        Raises RemoteError("bad-cid") with a sentence for the person who typed it.
        """
        if len(text) > MAX_CID_TEXT:
            raise RemoteError("bad-cid", f"A CID has at most {MAX_CID_TEXT} characters.")
        try:
            if len(text) == 46 and text.startswith("Qm"):
                return cls.decode(decode_base58(text))
            if text[:1] == "b":
                data = decode_base32(text[1:])
            elif text[:1] == "z":
                data = decode_base58(text[1:])
            else:
                raise RemoteError("bad-cid", "A CID starts with Qm, b or z.")
            if data[:1] == _V0_PREFIX[:1]:
                raise RemoteError("bad-cid", "A version 0 CID has no letter before it.")
            return cls.decode(data)
        except RemoteError as error:
            raise RemoteError("bad-cid", f"This is not a CID: {error.sentence}") from None


def multihash_matches(multihash: bytes, data: bytes) -> bool:
    """Whether `data` hashes to `multihash`. Raises RemoteError."""
    return Cid.decode(bytes((1, RAW)) + multihash).matches(data)


def is_supported_multihash(multihash: bytes) -> bool:
    """Whether it is one, and blocks can be checked against it here."""
    try:
        cid = Cid.decode(bytes((1, RAW)) + multihash)
    except RemoteError:
        return False
    return cid.prefix.is_supported


def _check(version: int, codec: int, hash_code: int, length: int) -> None:
    if version == 0 and (codec, hash_code, length) != (DAG_PB, SHA2_256, 32):
        raise RemoteError("bad-cid", "A version 0 CID is dag-pb with a sha2-256 digest of 32 bytes.")
    if version not in (0, 1):
        raise RemoteError("bad-cid", f"CID version {version} is not known.")
    expected = _DIGEST_BYTES.get(hash_code)
    if expected is not None and length != expected:
        # A shortened digest would be accepted for many blocks.
        raise RemoteError("bad-cid", f"The digest has {length} bytes where {expected} are required.")
    if length > MAX_DIGEST_BYTES:
        raise RemoteError("bad-cid", f"The digest has more than {MAX_DIGEST_BYTES} bytes.")
