"""What a guest's page and the node say while a data channel is made: JSON over a WebSocket. Pure.

The node says hello with a challenge; the page answers with a login (NIP-42) for it, signed by its own key,
and the token of its link if it has one. It waits until the owner has said yes, then sends its offer, gets
the answer, and listens: the last thing that it hears is why it ended.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from meshconsole.core.errors import RemoteError

MAX_MESSAGE = 40 * 1024


class _Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag=str.lower):
    pass


class Hello(_Said, frozen=True):
    node: str
    challenge: str


class Ask(_Said, frozen=True):
    """`login` is an event of kind 22242; `token` is "" for a guest that comes again."""

    login: msgspec.Raw
    token: Annotated[str, Meta(max_length=64)] = ""
    name: Annotated[str, Meta(max_length=128)] = ""


class Wait(_Said, frozen=True):
    code: str


class Welcome(_Said, frozen=True):
    """`until` is in seconds since the epoch."""

    name: str
    until: float


class Offer(_Said, frozen=True):
    sdp: str


class Answer(_Said, frozen=True):
    sdp: str


class Over(_Said, frozen=True):
    """`final`: there is no use in coming again without a new link."""

    reason: str
    final: bool


_ask = msgspec.json.Decoder(Ask).decode
_offer = msgspec.json.Decoder(Offer).decode
_encode = msgspec.json.Encoder().encode


def encode(said: Hello | Wait | Welcome | Answer | Over) -> str:
    return _encode(said).decode()


def read_ask(text: str) -> Ask:
    """Raises RemoteError."""
    try:
        return _ask(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise RemoteError("bad-message", "The page sent something that this node does not expect.") from None


def read_offer(text: str) -> Offer:
    """Raises RemoteError."""
    try:
        return _offer(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise RemoteError("bad-message", "The page sent something that this node does not expect.") from None
