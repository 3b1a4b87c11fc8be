"""Deterministic test data of IPIP-499: a ChaCha20 key stream under sha256(seed) with a zero nonce."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from meshconsole.content.formats.block import Block
from meshconsole.content.formats.cid import RAW

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCKS = [Block.of(RAW, f"block {number}".encode()) for number in range(30)]


def deterministic(size: int, seed: str, piece: int = 1 << 20) -> Iterator[bytes]:
    """`size` bytes in pieces."""
    cipher = Cipher(algorithms.ChaCha20(sha256(seed.encode()).digest(), bytes(16)), None).encryptor()
    while size:
        count = min(size, piece)
        size -= count
        yield cipher.update(bytes(count))


def deterministic_bytes(size: int, seed: str = "meshconsole") -> bytes:
    return b"".join(deterministic(size, seed))
