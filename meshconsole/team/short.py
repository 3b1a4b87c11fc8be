"""A note without what follows from the rest: two thirds of its bytes, for the ways that carry little. Pure.

A note's ciphertext follows from its salt, its text and the epoch's key, and what stands around it from its
author and the epoch. So a device that holds the key makes the very same event again, bit by bit, of
the salt, the text and the two signatures; that it is the same, its id and the outer signature prove, which
whoever stores it checks. Nothing is sealed under a salt twice: the same comes out or nothing that counts.

    array of: 32 npub | created_at | 8 kid | 0..2 flash, immediate, priority, 3 routine | 24 salt
            | inner kind | text | 64 inner signature | 64 outer signature | zeros, up to SHORT_FLOOR bytes

All that look alike as events, notes of up to 490 bytes, have one length here, too. Whoever sends it seals it:
inside, the text is open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from meshconsole.core.errors import Refused
from meshconsole.core.event import Event, encode_event, event_id
from meshconsole.core.kinds import ROLL_CALL, TEAM_NOTE, TEXT_NOTE
from meshconsole.core.precedence import Precedence, mark_of, precedence_tags
from meshconsole.crypto.encoding import unb64
from meshconsole.crypto.sealing import salt_of
from meshconsole.team.sealed import INNER_FLOOR, open_event, reseal_event, team_tags

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.core.precedence import PrecedenceName
    from meshconsole.team.epochs import EpochKey

SHORT_FLOOR = 720
"""Bytes: what the longest of the notes that look alike takes."""
MAX_SHORT_TEXT = 900
_NAMES: tuple[PrecedenceName, ...] = ("flash", "immediate", "priority", "routine")
_Sig = Annotated[bytes, Meta(min_length=64, max_length=64)]


class _Short(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    npub: Annotated[bytes, Meta(min_length=32, max_length=32)]
    created_at: Annotated[int, Meta(ge=0, le=(1 << 53) - 1)]
    kid: Annotated[bytes, Meta(min_length=8, max_length=8)]
    precedence: Annotated[int, Meta(ge=0, le=3)]
    salt: Annotated[bytes, Meta(min_length=24, max_length=24)]
    kind: int
    text: Annotated[str, Meta(max_length=MAX_SHORT_TEXT)]
    inner_sig: _Sig
    sig: _Sig
    padding: Annotated[bytes, Meta(max_length=SHORT_FLOOR)] = b""


_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[_Short] = msgspec.msgpack.Decoder(_Short)


def shorten(outer: Event, epoch: EpochKey) -> bytes | None:
    """None for what is not exactly what `lengthen` would make of it."""
    if outer.kind != TEAM_NOTE:
        return None
    try:
        inner = open_event(outer, epoch, TEXT_NOTE, ROLL_CALL)
    except Refused:
        return None
    if len(inner.content) > MAX_SHORT_TEXT:
        return None
    name = mark_of(outer) or "routine"
    short = _Short(
        npub=bytes.fromhex(outer.pubkey),
        created_at=outer.created_at,
        kid=bytes.fromhex(epoch.kid),
        precedence=Precedence[name.upper()],
        salt=salt_of(unb64(outer.content)),
        kind=inner.kind,
        text=inner.content,
        inner_sig=bytes.fromhex(inner.sig),
        sig=bytes.fromhex(outer.sig),
    )
    size = len(_encode(short))
    padded = msgspec.structs.replace(short, padding=bytes(max(0, SHORT_FLOOR - size - 2)))
    data = _encode(padded)
    return data if lengthen(data, lambda _kid, _npub: epoch) == outer else None


def lengthen(data: bytes, epoch_of: Callable[[str, str], EpochKey | None]) -> Event | None:
    """The event; whether its author signed it, whoever stores it checks. `epoch_of` gives the key of a key id
    for what an author (npub) wrote. None for nonsense, and where there is no such key."""
    try:
        short = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if short.kind not in (TEXT_NOTE, ROLL_CALL):
        return None
    npub, kid = short.npub.hex(), short.kid.hex()
    epoch = epoch_of(kid, npub)
    if epoch is None:
        return None
    tags = team_tags(epoch.team)
    inner_id = event_id(npub, short.created_at, short.kind, tags, short.text).hex()
    inner = Event(inner_id, npub, short.created_at, short.kind, tags, short.text, short.inner_sig.hex())
    content = reseal_event(epoch, encode_event(inner).ljust(INNER_FLOOR), TEAM_NOTE, npub, short.salt)
    outside = (("h", epoch.routing_tag), ("k", epoch.kid), *precedence_tags(_NAMES[short.precedence]))
    outer_id = event_id(npub, short.created_at, TEAM_NOTE, outside, content).hex()
    return Event(outer_id, npub, short.created_at, TEAM_NOTE, outside, content, short.sig.hex())
