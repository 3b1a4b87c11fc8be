"""Sealed boxes: Cobblestone-256 (c2sp.org/chunked-encryption), for 32-byte keys and any size.

A sealed box is 24 bytes of salt, 32 bytes that commit to key and context, and chunks of 16 KiB
under AES-256-GCM, the last one shorter. It opens under one key and one context only; chunks cannot
be moved, left out or cut off. The context names what is sealed and for whom, so that a box cannot
be passed off as another.

Padding hides lengths: u64 length, data, zeros, up to a PADMÉ length (Nikitin et al., PETS 2019)
of at least 512 bytes, which leaks O(log log n) bits of the length and costs at most 12 %.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from meshconsole.core.errors import LocalError, RemoteError, Unavailable
from meshconsole.crypto.encoding import expand

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

KEY_LEN = 32
SALT_LEN = 24
HEADER_LEN = 56
CHUNK_LEN = 16384
TAG_LEN = 16
OVERHEAD = HEADER_LEN + TAG_LEN
"""What a box of less than one chunk adds."""

PADDING_FLOOR = 512
MAX_PLAIN_SIZE = 1 << 42
"""4 TiB; Cobblestone's own limit is 2^38 chunks."""

_SIZE_LEN = 8
_ZEROS = bytes(65536)


def seal(key: bytes, context: bytes, plaintext: bytes) -> bytes:
    """72 bytes longer than `plaintext`, and 16 more for each further 16 KiB."""
    encryptor = Cobblestone256Encryptor(_key(key), context)
    return encryptor.update(plaintext) + encryptor.finalize()


def salt_of(box: bytes) -> bytes:
    return box[:SALT_LEN]


def reseal(key: bytes, context: bytes, salt: bytes, plaintext: bytes) -> bytes:
    """The box, of one chunk, that `seal` made of this plaintext with that salt: to have it again without its
    bytes. Never for sealing: a salt serves one plaintext only, and `seal` alone chooses salts.

    The library takes no salt; this is the specification's derivation (c2sp.org/chunked-encryption)."""
    if len(plaintext) >= CHUNK_LEN or len(salt) != SALT_LEN:
        raise LocalError("Only a box of one chunk is sealed again.")
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt + context
    material = expand(_key(key), info, 32 + 12 + 32)
    sealed = AESGCM(material[:32]).encrypt(material[32:44], plaintext, None)
    return salt + material[44:] + sealed


def unseal(key: bytes, context: bytes, sealed: bytes) -> bytes:
    """Raises RemoteError for a wrong key or context, and for bytes changed, cut off or added."""
    decryptor = Cobblestone256Decryptor(_key(key), context)
    try:
        return decryptor.update(sealed) + decryptor.finalize()
    except (InvalidTag, ValueError):
        raise _does_not_open() from None


def pad(data: bytes) -> bytes:
    padded = padded_size(len(data))
    return len(data).to_bytes(_SIZE_LEN, "big") + data + bytes(padded - _SIZE_LEN - len(data))


def unpad(padded: bytes) -> bytes:
    """Raises RemoteError unless `padded` is exactly what `pad` makes of the data."""
    size = int.from_bytes(padded[:_SIZE_LEN], "big")
    if len(padded) < _SIZE_LEN or size > len(padded) or padded_size(size) != len(padded):
        raise RemoteError("bad-padding", "The padding of sealed data is wrong.")
    end = _SIZE_LEN + size
    if any(padded[end:]):
        raise RemoteError("bad-padding", "The padding of sealed data is wrong.")
    return padded[_SIZE_LEN:end]


def padded_size(size: int) -> int:
    """Bytes of `pad(data)` for `size` bytes of data."""
    return max(PADDING_FLOOR, _padme(size + _SIZE_LEN))


def sealed_size(plain_size: int) -> int:
    """Bytes that `seal_stream` gives for a plaintext of `plain_size` bytes."""
    padded = padded_size(plain_size)
    return HEADER_LEN + padded + TAG_LEN * (padded // CHUNK_LEN + 1)


def seal_stream(key: bytes, context: bytes, chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Padded and sealed pieces of a file of `size` bytes, in bounded memory.

    Raises Unavailable when `chunks` have another total: the file changed meanwhile.
    """
    sealer = StreamSealer(key, context, size)
    for chunk in chunks:
        if piece := sealer.update(chunk):
            yield piece
    yield from sealer.finish()


def open_stream(key: bytes, context: bytes, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The plaintext pieces of a sealed stream.

    What is yielded is authentic, but only the normal end of the iterator says that it is complete:
    a RemoteError at any point means that all of it must be thrown away.
    """
    opener = StreamOpener(key, context)
    for chunk in chunks:
        if piece := opener.update(chunk):
            yield piece
    if piece := opener.finish():
        yield piece


class StreamSealer:
    """Sealing piece by piece: `update` for each, then `finish` once."""

    def __init__(self, key: bytes, context: bytes, size: int) -> None:
        if not 0 <= size <= MAX_PLAIN_SIZE:
            raise LocalError("A stream to be sealed must have between 0 bytes and 4 TiB.")
        self._encryptor = Cobblestone256Encryptor(_key(key), context)
        self._size = size
        self._left = size
        self._start = size.to_bytes(_SIZE_LEN, "big")

    def update(self, piece: bytes) -> bytes:
        self._left -= len(piece)
        if self._left < 0:
            raise _changed_meanwhile()
        start, self._start = self._start, b""
        return self._encryptor.update(start + piece if start else piece)

    def finish(self) -> Iterator[bytes]:
        """The padding and the last chunk, in pieces of at most 64 KiB."""
        if self._left:
            raise _changed_meanwhile()
        if self._start and (piece := self.update(b"")):
            yield piece
        zeros = padded_size(self._size) - _SIZE_LEN - self._size
        while zeros:
            take = min(zeros, len(_ZEROS))
            zeros -= take
            if piece := self._encryptor.update(_ZEROS[:take]):
                yield piece
        yield self._encryptor.finalize()


class StreamOpener:
    """Opening piece by piece. After a RemoteError it must not be used again."""

    def __init__(self, key: bytes, context: bytes) -> None:
        self._decryptor = Cobblestone256Decryptor(_key(key), context)
        self._start = b""
        self._left = -1
        """Data bytes still to come; -1 while the length is not known."""
        self._zeros = 0

    def update(self, piece: bytes) -> bytes:
        try:
            return self._take(self._decryptor.update(piece))
        except (InvalidTag, ValueError):
            raise _does_not_open() from None

    def finish(self) -> bytes:
        try:
            last = self._take(self._decryptor.finalize())
        except (InvalidTag, ValueError):
            raise _does_not_open() from None
        if self._left or self._zeros:
            raise RemoteError("bad-padding", "The padding of sealed data is wrong.")
        return last

    def _take(self, plain: bytes) -> bytes:
        """The data in the next piece of what was padded."""
        if self._left < 0:
            self._start += plain
            if len(self._start) < _SIZE_LEN:
                return b""
            self._left = int.from_bytes(self._start[:_SIZE_LEN], "big")
            if self._left > MAX_PLAIN_SIZE:
                raise RemoteError("bad-padding", "Sealed data claims to have more than 4 TiB.")
            self._zeros = padded_size(self._left) - _SIZE_LEN - self._left
            plain, self._start = self._start[_SIZE_LEN:], b""
        data, rest = plain[: self._left], plain[self._left :]
        self._left -= len(data)
        self._zeros -= len(rest)
        if self._zeros < 0 or any(rest):
            raise RemoteError("bad-padding", "The padding of sealed data is wrong.")
        return data


def _padme(length: int) -> int:
    """PADMÉ: the low bits are rounded away that a floating-point form with a short mantissa lacks."""
    exponent = length.bit_length() - 1
    mask = (1 << exponent - exponent.bit_length()) - 1
    return length + mask & ~mask


def _key(key: bytes) -> bytes:
    if len(key) != KEY_LEN:
        raise LocalError("A sealing key must have 32 bytes.")
    return key


def _does_not_open() -> RemoteError:
    return RemoteError("bad-seal", "Sealed data does not open: another key, or its bytes were changed.")


def _changed_meanwhile() -> Unavailable:
    return Unavailable("The file changed while it was read.", hint="Add it again.")
