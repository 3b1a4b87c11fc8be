"""dag-cbor: the links of a block that others wrote. Pure; we write none but the header of a CAR file.

libipld decides whether a block is sound. It gives links and byte strings alike as bytes, so the links
are found here: the heads of a block that is known to be sound are walked over, and what follows tag 42
is a link. Source: ipld.io/specs/codecs/dag-cbor, RFC 8949 §3.
"""

from __future__ import annotations

from meshconsole.content.cid import Cid
from meshconsole.core.errors import RemoteError

MAX_LINKS = 1 << 16

_BYTES, _TEXT, _ARRAY, _MAP, _TAG = 2, 3, 4, 5, 6
_WIDTH = {24: 1, 25: 2, 26: 4, 27: 8}


def cbor_links(block: bytes) -> tuple[Cid, ...]:
    """In the order of the block. Raises RemoteError("bad-dag-cbor" | "bad-cid")."""
    from libipld import decode_dag_cbor  # only here: few nodes ever meet such a block

    try:
        decode_dag_cbor(block)
    except (ValueError, RecursionError) as error:
        raise RemoteError("bad-dag-cbor", f"A dag-cbor block is malformed: {error}.") from None
    links: list[Cid] = []
    position = 0
    is_link = False
    while position < len(block):
        major, info = block[position] >> 5, block[position] & 0x1F
        width = _WIDTH.get(info, 0)
        length = int.from_bytes(block[position + 1 : position + 1 + width], "big") if width else info
        position += 1 + width
        if major in (_BYTES, _TEXT):
            if is_link:
                # The first byte is the multibase prefix of binary, zero.
                links.append(Cid.decode(block[position + 1 : position + length]))
            position += length
        is_link = major == _TAG
        if len(links) > MAX_LINKS:
            raise RemoteError("bad-dag-cbor", f"A dag-cbor block has more than {MAX_LINKS} links.")
    return tuple(links)
