"""What sealed datagrams say: msgpack arrays, tagged, every field bounded. Pure.

A device of role relay holds no key to seal with; it may say where it answers in a plain beacon, which
names nobody. All of it is a hint: who is there, the handshake of a link proves.
"""

from __future__ import annotations

import struct
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from meshconsole.mesh.datagrams.sealing import MAX_PAYLOAD
from meshconsole.mesh.messages import MALFORMED, LinkId, Message, Receipt

Way = Literal["multicast-6", "multicast-4", "broadcast", "unicast", "answer"]
"""How a datagram was sent. It stands inside, so that the other side can tell which ways are open."""

Key = Annotated[bytes, Meta(min_length=32, max_length=32)]
Port = Annotated[int, Meta(ge=1, le=65_535)]
Host = Annotated[bytes, Meta(min_length=4, max_length=16)]
HEARD = 4
"""Bytes of a device's key by which a beacon names whom its sender hears."""
MAX_HEARD = 48
MAX_HOSTS = 4
MAX_PARTS = 20
PART_BYTES = 1100
PART_NAME = 16
PartName = Annotated[bytes, Meta(min_length=PART_NAME, max_length=PART_NAME)]


class Beacon(Message, frozen=True, tag="beacon"):
    """Here I am. `hosts` are the sender's addresses, packed; it answers at `port` of each."""

    npub: Key
    boot: LinkId
    port: Port
    way: Way
    hosts: Annotated[tuple[Host, ...], Meta(max_length=MAX_HOSTS)] = ()
    heard: Annotated[bytes, Meta(max_length=HEARD * MAX_HEARD)] = b""
    """Whose datagrams the sender has heard lately, HEARD bytes of each key."""


class FlashNote(Message, frozen=True, tag="flash"):
    """A sealed note (kind 4202), packed: the fields that its id does not follow from."""

    npub: Key
    created_at: Annotated[int, Meta(ge=0, le=(1 << 53) - 1)]
    route: Annotated[bytes, Meta(min_length=16, max_length=16)]
    """Tag h."""
    kid: Annotated[bytes, Meta(min_length=8, max_length=8)]
    """Tag k."""
    precedence: Annotated[str, Meta(max_length=16)]
    """The tag of that name; "" without one."""
    content: Annotated[bytes, Meta(max_length=MAX_PARTS * PART_BYTES)]
    """What the event has in Base64."""
    sig: Annotated[bytes, Meta(min_length=64, max_length=64)]


class ShortNote(Message, frozen=True, tag="short"):
    """A note without what follows from the rest (`team/short.py`)."""

    data: Annotated[bytes, Meta(min_length=1, max_length=MAX_PAYLOAD)]


class FlashPart(Message, frozen=True, tag="part"):
    """Part `number` of `count` of a packed note that does not fit one datagram. `name` is of the whole."""

    name: PartName
    number: Annotated[int, Meta(ge=0, lt=MAX_PARTS)]
    count: Annotated[int, Meta(ge=1, le=MAX_PARTS)]
    data: Annotated[bytes, Meta(min_length=1, max_length=PART_BYTES)]


class PartsHeld(Message, frozen=True, tag="held"):
    """`npub` has these parts: bit n of `held` stands for part n. A hint: it only ends their repetition."""

    name: PartName
    npub: Key
    held: Annotated[int, Meta(ge=0, lt=1 << MAX_PARTS)]


GOT_ID = 12
"""Bytes of an event's id by which a note is named to its author, who has few under way."""
MAX_GOT = 19
"""So many fit the second size of a datagram."""


class Got(Message, frozen=True, tag="got"):
    """`npub` has these notes durably: the beginnings of their ids, the newest last. Signed by it."""

    npub: Key
    ids: Annotated[bytes, Meta(min_length=GOT_ID, max_length=GOT_ID * MAX_GOT)]
    sig: Annotated[bytes, Meta(min_length=64, max_length=64)]


Datagram = Beacon | FlashNote | ShortNote | FlashPart | PartsHeld | Got | Receipt

_PLAIN = struct.Struct("!4s8sH")
_MAGIC = b"mcb1"

_decoder: msgspec.msgpack.Decoder[Datagram] = msgspec.msgpack.Decoder(Datagram)


def decode_datagram(payload: bytes) -> Datagram | None:
    """None for what this version does not understand: others of the team may be newer."""
    try:
        return _decoder.decode(payload)
    except MALFORMED:
        return None


def plain_beacon(instance_id: bytes, port: int) -> bytes:
    """Of a device that holds no team key."""
    return _PLAIN.pack(_MAGIC, instance_id, port)


def read_plain_beacon(datagram: bytes) -> tuple[bytes, int] | None:
    """The sender's random id and its port."""
    if len(datagram) != _PLAIN.size:
        return None
    magic, instance_id, port = _PLAIN.unpack(datagram)
    return (instance_id, port) if magic == _MAGIC and port else None
