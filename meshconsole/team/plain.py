"""Messages to and from plain Nostr clients: NIP-17 chat in NIP-59 wraps under NIP-44. Pure.

Not post-quantum, and only where the team's rule `plain_messages` allows it. Three layers: the rumor,
which nobody signed; the seal, signed by its author and encrypted to the reader; the wrap, signed by a
key made for it alone and addressed to the reader. Seal and wrap are dated up to two days back.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from meshconsole.core.errors import Refused, RemoteError
from meshconsole.core.event import Event, Tags, event_id
from meshconsole.core.kinds import CHAT_MESSAGE, GIFT_WRAP, SEAL
from meshconsole.crypto.nip44 import conversation_key, decrypt, encrypt
from meshconsole.crypto.schnorr import sign_event, verify_event
from meshconsole.team.notes import check_text

if TYPE_CHECKING:
    from meshconsole.crypto.identity import Identity

BACKDATED_S = 2 * 86_400
NOT_POST_QUANTUM = "[not post-quantum]"
"""Stands before the text of such a message wherever people see it."""

_KEY_CHARS = 64


class PlainMessage(msgspec.Struct, frozen=True):
    """Public keys in hex. `created_at` is what the author says."""

    author: str
    recipients: tuple[str, ...]
    text: str
    created_at: int


class _Rumor(msgspec.Struct, frozen=True):
    """An event without a signature (NIP-59)."""

    pubkey: str
    created_at: Annotated[int, Meta(ge=0, lt=1 << 53)]
    kind: int
    tags: Tags
    content: str
    id: str = ""


def wrap_message(author: Identity, to: str, text: str, now: int) -> tuple[Event, Event]:
    """The wrap for `to` (hex), and one for the author itself, to read again what was sent. Raises Refused."""
    check_text(text, "message")
    tags = (("p", to),)
    digest = event_id(author.npub, now, CHAT_MESSAGE, tags, text).hex()
    rumor = msgspec.json.encode(_Rumor(author.npub, now, CHAT_MESSAGE, tags, text, digest)).decode()
    return _wrapped(author, rumor, to, now), _wrapped(author, rumor, author.npub, now)


def is_addressed(outer: Event, npub: str) -> bool:
    return outer.kind == GIFT_WRAP and any(tag[:2] == ("p", npub) for tag in outer.tags)


def open_message(me: Identity, outer: Event) -> PlainMessage:
    """What a wrap (its Nostr signature checked) holds for this device. Raises Refused."""
    if not is_addressed(outer, me.npub):
        raise Refused("invalid", "It is addressed to somebody else.")
    try:
        inside = decrypt(me.plain_key(outer.pubkey), outer.content)
        seal = msgspec.json.decode(inside, type=Event)
        if seal.kind != SEAL or seal.tags or not verify_event(seal):
            raise Refused("invalid", "It holds no seal that its author signed.")
        rumor = msgspec.json.decode(decrypt(me.plain_key(seal.pubkey), seal.content), type=_Rumor)
        digest = event_id(rumor.pubkey, rumor.created_at, rumor.kind, rumor.tags, rumor.content).hex()
    except (RemoteError, msgspec.DecodeError, UnicodeError, RecursionError, OverflowError):
        raise Refused("invalid", "It does not open with this device's Nostr key.") from None
    if rumor.pubkey != seal.pubkey:  # NIP-17: else anybody could speak in anybody's name
        raise Refused("invalid", "It names another author than the one who sealed it.")
    if rumor.id not in ("", digest):
        raise Refused("invalid", "Its id is not that of its content.")
    if rumor.kind != CHAT_MESSAGE:
        raise Refused("unsupported", f"It holds an event of kind {rumor.kind}, which is not shown.")
    named = (tag[1] for tag in rumor.tags if len(tag) > 1 and tag[0] == "p" and len(tag[1]) == _KEY_CHARS)
    recipients = tuple(dict.fromkeys(named))
    if me.npub not in (rumor.pubkey, *recipients):
        raise Refused("invalid", "It was written to somebody else.")
    return PlainMessage(rumor.pubkey, recipients, rumor.content, rumor.created_at)


def _wrapped(author: Identity, rumor: str, reader: str, now: int) -> Event:
    seal = author.sign(SEAL, (), encrypt(author.plain_key(reader), rumor), _some_time_ago(now))
    once = os.urandom(32)
    content = encrypt(conversation_key(once, reader), msgspec.json.encode(seal).decode())
    return sign_event(once, GIFT_WRAP, (("p", reader),), content, _some_time_ago(now))


def _some_time_ago(now: int) -> int:
    # NIP-59: so that layers of one message cannot be told to belong together by their times.
    return max(0, now - secrets.randbelow(BACKDATED_S))
