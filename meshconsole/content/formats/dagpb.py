"""dag-pb: blocks that link to blocks. Pure and strict.

A node is a list of links and optional bytes. The encoded form is unique: links first, in order, then
data; in a link Hash, Name, Tsize in that order, each at most once. Anything else is refused, for a
block must decode to one thing only. Source: ipld.io/specs/codecs/dag-pb.
"""

from __future__ import annotations

from itertools import pairwise

import msgspec

from meshconsole.content.formats.cid import Cid
from meshconsole.content.formats.protobuf import (
    BYTES,
    VARINT,
    bytes_field,
    decode_text,
    expect,
    fields,
    varint_field,
)
from meshconsole.core.errors import LocalError, RemoteError

MAX_LINKS = 1 << 16
"""More than any known writer puts in one block of 2 MiB."""

_NODE_DATA, _NODE_LINKS = 1, 2
_LINK_HASH, _LINK_NAME, _LINK_TSIZE = 1, 2, 3


class Link(msgspec.Struct, frozen=True):
    """`tsize` is the sum of the sizes of all blocks below, in bytes, as the writer claims it."""

    cid: Cid
    name: str | None = None
    tsize: int | None = None


class Node(msgspec.Struct, frozen=True):
    links: tuple[Link, ...] = ()
    data: bytes | None = None


def encode_node(node: Node) -> bytes:
    """Raises LocalError if the links are named and not sorted, for that has no canonical form."""
    names = [(link.name or "").encode() for link in node.links]
    if any(later < earlier for earlier, later in pairwise(names)):
        raise LocalError("The links of a dag-pb node must be sorted by name.")
    out = [bytes_field(_NODE_LINKS, _encode_link(link)) for link in node.links]
    if node.data is not None:
        out.append(bytes_field(_NODE_DATA, node.data))
    return b"".join(out)


def decode_node(block: bytes) -> Node:
    """Raises RemoteError("bad-dag-pb" | "bad-protobuf" | "bad-varint" | "bad-cid")."""
    links: list[Link] = []
    data: bytes | None = None
    for number, wire, _, value in fields(block):
        if number == _NODE_LINKS:
            expect(number, wire, BYTES)
            if data is not None:
                raise RemoteError("bad-dag-pb", "A link follows the data of a dag-pb node.")
            if len(links) >= MAX_LINKS:
                raise RemoteError("bad-dag-pb", f"A dag-pb node has more than {MAX_LINKS} links.")
            links.append(_decode_link(value))
        elif number == _NODE_DATA:
            expect(number, wire, BYTES)
            if data is not None:
                raise RemoteError("bad-dag-pb", "A dag-pb node has data twice.")
            data = bytes(value)
        else:
            raise RemoteError("bad-dag-pb", f"A dag-pb node has an unknown field {number}.")
    return Node(tuple(links), data)


def _encode_link(link: Link) -> bytes:
    out = bytes_field(_LINK_HASH, link.cid.encode())
    if link.name is not None:
        out += bytes_field(_LINK_NAME, link.name.encode())
    if link.tsize is not None:
        out += varint_field(_LINK_TSIZE, link.tsize)
    return out


def _decode_link(data: memoryview) -> Link:
    cid: Cid | None = None
    name: str | None = None
    tsize: int | None = None
    last = 0
    for number, wire, integer, value in fields(data):
        if not last < number <= _LINK_TSIZE:
            raise RemoteError(
                "bad-dag-pb", "The fields of a dag-pb link are unknown, doubled or out of order."
            )
        last = number
        expect(number, wire, VARINT if number == _LINK_TSIZE else BYTES)
        if number == _LINK_HASH:
            cid = Cid.decode(bytes(value))
        elif number == _LINK_NAME:
            name = decode_text(value)
        else:
            tsize = integer
    if cid is None:
        raise RemoteError("bad-dag-pb", "A dag-pb link has no CID.")
    return Link(cid, name, tsize)
