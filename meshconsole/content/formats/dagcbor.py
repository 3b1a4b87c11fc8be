"""dag-cbor: the links of a block that others wrote. Pure; we write none but the header of a CAR file.

libipld decides whether a block is sound. It gives links and byte strings alike as bytes, so the links
are found here: the heads of a block that is known to be sound are walked over, and what follows tag 42
is a link. Source: ipld.io/specs/codecs/dag-cbor, RFC 8949 §3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.content.formats.cid import Cid
from meshconsole.core.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_LINKS = 1 << 16

_BYTES, _TEXT, _ARRAY, _MAP, _TAG = 2, 3, 4, 5, 6
_WIDTH = {24: 1, 25: 2, 26: 4, 27: 8}


def cbor_links(block: bytes) -> tuple[Cid, ...]:
    """In the order of the block. Raises RemoteError("bad-dag-cbor" | "bad-cid")."""
    _check(block)
    links: list[Cid] = []
    position = 0
    is_link = False
    while position < len(block):
        major, length, position = _head(block, position)
        if major in (_BYTES, _TEXT):
            if is_link:
                links.append(_link(block, position, length))
            position += length
        is_link = major == _TAG
        if len(links) > MAX_LINKS:
            raise RemoteError("bad-dag-cbor", f"A dag-cbor block has more than {MAX_LINKS} links.")
    return tuple(links)


def cbor_step(block: bytes, names: Sequence[str]) -> tuple[Cid | None, int]:
    """The link that names lead to through the maps and lists of a block, and how many names it took; None
    if they lead to no link. Raises RemoteError("bad-dag-cbor" | "bad-cid")."""
    _check(block)
    position = 0
    for used, name in enumerate(names):
        entry = _entry(block, position, name)
        if entry is None:
            return None, used
        major, _, after = _head(block, entry)
        if major == _TAG:
            _, length, after = _head(block, after)
            return _link(block, after, length), used + 1
        position = entry
    return None, len(names)


def _entry(block: bytes, position: int, name: str) -> int | None:
    """Where the value stands that a map or a list has under a name or a number."""
    major, count, position = _head(block, position)
    if major == _ARRAY:
        if not (name.isascii() and name.isdigit() and len(name) < 10 and int(name) < count):
            return None
        for _ in range(int(name)):
            position = _after(block, position)
        return position
    if major != _MAP:
        return None
    for _ in range(count):
        _, length, start = _head(block, position)
        if block[start : start + length] == name.encode():
            return start + length
        position = _after(block, start + length)
    return None


def _after(block: bytes, position: int) -> int:
    """Where the item that stands at `position` ends."""
    left = 1
    while left:
        major, length, position = _head(block, position)
        left -= 1
        if major in (_BYTES, _TEXT):
            position += length
        elif major == _TAG:
            left += 1
        elif major in (_ARRAY, _MAP):
            left += length * (2 if major == _MAP else 1)
    return position


def _head(block: bytes, position: int) -> tuple[int, int, int]:
    """Kind, number, and where the head ends."""
    major, info = block[position] >> 5, block[position] & 0x1F
    width = _WIDTH.get(info, 0)
    number = int.from_bytes(block[position + 1 : position + 1 + width], "big") if width else info
    return major, number, position + 1 + width


def _link(block: bytes, position: int, length: int) -> Cid:
    """The first byte is the multibase prefix of binary, zero."""
    return Cid.decode(block[position + 1 : position + length])


def _check(block: bytes) -> None:
    from libipld import decode_dag_cbor  # only here: few nodes ever meet such a block

    try:
        decode_dag_cbor(block)
    except (ValueError, RecursionError) as error:
        raise RemoteError("bad-dag-cbor", f"A dag-cbor block is malformed: {error}.") from None
