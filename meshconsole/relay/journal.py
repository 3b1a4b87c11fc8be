"""A file of sealed records, each durable by itself: what was acknowledged before it came into the tables.

    file = blocks of 4096 bytes
    header = "meshconsole/journal/1" | zeros to 32 bytes | 32 bytes of salt | zeros to the end of the block
    record = u32 length of the sealed bytes | ChaCha20-Poly1305 (RFC 8439) | zeros to the end of the block
    key = HKDF-Expand(database key, lp("meshconsole/journal/1", log id, salt)), nonce = number of the record

A record never shares a block with another one, so that writing it cannot harm what was durable before. Each
*round* begins at the start of the file with a salt of its own: what is left of older rounds opens under no
key of the new one, and a nonce serves once. Records end where the first does not open: that one was not
acknowledged, or there was none.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from meshconsole.crypto.encoding import expand, lp
from meshconsole.crypto.private_file import as_our_error, sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK = 4096
BYTES = 64 * BLOCK
"""Of the file. They are written when it is made: then a record changes nothing but its own blocks, which is
what a disk makes durable soonest."""

_LABEL = b"meshconsole/journal/1"
_MAGIC = _LABEL.ljust(32, b"\0")
_SALT_LEN = 32
_LENGTH_LEN = 4
_TAG_LEN = 16
_NONCE_LEN = 12


class Journal:
    """Used by whoever holds the store's lock on writing. Takes nothing before `make` and `begin_anew`."""

    def __init__(self, path: Path, key: bytes, log_id: str) -> None:
        self._path = path
        self._key = key
        self._log_id = log_id
        self._descriptor = -1
        self._is_named = False
        """The folder's entry for the file is durable."""
        self._cipher: ChaCha20Poly1305 | None = None
        """Of this round; None before its first record."""
        self._records = 0
        self._end = BYTES
        """Where the next record begins."""

    def read(self) -> list[bytes]:
        """The records of the last round. Raises an error of ours where the file cannot be read."""
        try:
            with self._path.open("rb") as file:
                data = file.read(BYTES)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise as_our_error(error, self._path.name) from error
        return list(self._opened(data))

    def make(self) -> None:
        """The file, as long as it will ever be: what comes later takes no room that might be missing. What it
        holds already stays. Raises an error of ours."""
        try:
            self._descriptor = os.open(
                self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
            size = os.fstat(self._descriptor).st_size
            if size < BYTES:
                _write(self._descriptor, bytes(BYTES - size), size)
        except OSError as error:
            self.close()
            raise as_our_error(error, self._path.name) from error

    def has_room(self, size: int) -> bool:
        """For a record of so many bytes."""
        return self._descriptor >= 0 and max(self._end, BLOCK) + _blocks(size) <= BYTES

    def append(self, record: bytes) -> None:
        """Durable when it returns. Raises an error of ours, and then takes nothing more in this round."""
        begin, first = self._end, b""
        # Whatever breaks this off, an exception from outside too, ends the round: a nonce serves once.
        self._end = BYTES
        cipher = self._cipher
        if cipher is None:
            salt = os.urandom(_SALT_LEN)
            cipher = self._cipher = self._cipher_of(salt)
            first = (_MAGIC + salt).ljust(BLOCK, b"\0")
            self._records, begin = 0, 0
        sealed = cipher.encrypt(self._records.to_bytes(_NONCE_LEN, "big"), record, None)
        length = len(sealed).to_bytes(_LENGTH_LEN, "big")
        data = b"".join((first, length, sealed, bytes(_blocks(len(record)) - len(length) - len(sealed))))
        try:
            _write(self._descriptor, data, begin)
            os.fdatasync(self._descriptor)
            if not self._is_named:
                sync_folder(self._path.parent)
                self._is_named = True
        except OSError as error:
            self._take_back(begin + len(first))
            raise as_our_error(error, self._path.name) from error
        self._records += 1
        self._end = begin + len(data)

    def begin_anew(self) -> None:
        """All records are in the tables, durably."""
        self._cipher = None
        self._end = 0

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _take_back(self, begin: int) -> None:
        """The record that begins there was not acknowledged, and some of it may be on the disk all the same.
        As far as the disk does anything at all."""
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, bytes(BLOCK), begin)

    def _opened(self, data: bytes) -> Iterator[bytes]:
        if len(data) < BLOCK or not data.startswith(_MAGIC):
            return
        cipher = self._cipher_of(data[len(_MAGIC) : len(_MAGIC) + _SALT_LEN])
        number, start = 0, BLOCK
        while True:
            begin = start + _LENGTH_LEN
            length = int.from_bytes(data[start:begin], "big")
            if length < _TAG_LEN or begin + length > len(data):
                return
            try:
                record = cipher.decrypt(
                    number.to_bytes(_NONCE_LEN, "big"), data[begin : begin + length], None
                )
            except InvalidTag:
                return
            yield record
            number += 1
            start += _blocks(len(record))

    def _cipher_of(self, salt: bytes) -> ChaCha20Poly1305:
        return ChaCha20Poly1305(expand(self._key, lp(_LABEL, self._log_id, salt)))


def _write(descriptor: int, data: bytes, at: int) -> None:
    written = os.pwrite(descriptor, data, at)
    if written != len(data):
        raise OSError(errno.ENOSPC, f"{written} of {len(data)} bytes were written")


def _blocks(size: int) -> int:
    """Bytes of the blocks that a record takes."""
    return -(-(_LENGTH_LEN + size + _TAG_LEN) // BLOCK) * BLOCK
