"""A block: bytes together with a CID that they have been checked against. Pure.

Every way to make a `Block` computes the hash, so code that takes one never has to hash again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.content.formats.cid import SHA2_256, Cid, Prefix
from meshconsole.core.errors import RemoteError

if TYPE_CHECKING:
    from typing import Self

MAX_BLOCK_BYTES = 2 << 20
"""The limit of Bitswap 1.2 and of every IPFS implementation in use."""


class Block:
    """Immutable. `of`, `checked` and `received` are the only ways to make one."""

    __slots__ = ("_cid", "_data")

    _cid: Cid
    _data: bytes

    def __init__(self) -> None:
        raise TypeError("a Block is made by Block.of, Block.v0, Block.checked or Block.received")

    @property
    def cid(self) -> Cid:
        return self._cid

    @property
    def data(self) -> bytes:
        return self._data

    @classmethod
    def of(cls, codec: int, data: bytes, hash_code: int = SHA2_256) -> Self:
        """Names our own bytes (version 1). Raises RemoteError("oversize")."""
        _check_size(data)
        return cls._make(Prefix(1, codec, hash_code).name(data), data)

    @classmethod
    def v0(cls, data: bytes) -> Self:
        """Names our own dag-pb bytes in the manner of 2015. Raises RemoteError("oversize")."""
        _check_size(data)
        return cls._make(Cid.v0(data), data)

    @classmethod
    def checked(cls, cid: Cid, data: bytes) -> Self:
        """Raises RemoteError("wrong-hash" | "oversize" | "unsupported-hash")."""
        _check_size(data)
        if not cid.matches(data):
            raise RemoteError("wrong-hash", f"The bytes sent for {cid} are other bytes.")
        return cls._make(cid, data)

    @classmethod
    def received(cls, prefix: Prefix, data: bytes) -> Self:
        """Names bytes as their sender says. Raises RemoteError("oversize" | "unsupported-hash")."""
        _check_size(data)
        return cls._make(prefix.name(data), data)

    @classmethod
    def _make(cls, cid: Cid, data: bytes) -> Self:
        block = cls.__new__(cls)
        block._cid, block._data = cid, data
        return block


def _check_size(data: bytes) -> None:
    if len(data) > MAX_BLOCK_BYTES:
        raise RemoteError("oversize", f"A block of {len(data)} bytes is over the limit of {MAX_BLOCK_BYTES}.")
