from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.content.formats.block import MAX_BLOCK_BYTES, Block
from meshconsole.content.formats.cid import IDENTITY, RAW, SHA2_256, Cid, Prefix
from meshconsole.core.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_block_is_only_made_by_hashing() -> None:
    with pytest.raises(TypeError):
        Block()
    with pytest.raises(AttributeError):
        Block.of(RAW, b"a").data = b"b"  # type: ignore[misc]


def test_checked_refuses_other_bytes() -> None:
    cid = Cid.of(RAW, b"right")
    assert Block.checked(cid, b"right").cid == cid
    with pytest.raises(RemoteError) as error:
        Block.checked(cid, b"wrong")
    assert error.value.code == "wrong-hash"


@pytest.mark.parametrize(
    "make",
    [
        lambda data: Block.of(RAW, data),
        Block.v0,
        lambda data: Block.checked(Cid.of(RAW, b""), data),
        lambda data: Block.received(Prefix(1, RAW, SHA2_256), data),
    ],
)
def test_blocks_are_limited(make: Callable[[bytes], Block]) -> None:
    assert len(Block.of(RAW, bytes(MAX_BLOCK_BYTES)).data) == MAX_BLOCK_BYTES
    with pytest.raises(RemoteError) as error:
        make(bytes(MAX_BLOCK_BYTES + 1))
    assert error.value.code == "oversize"


def test_identity_blocks_are_short() -> None:
    assert Block.received(Prefix(1, RAW, IDENTITY), b"inline").cid.digest == b"inline"
    with pytest.raises(RemoteError):
        Block.received(Prefix(1, RAW, IDENTITY), bytes(129))
