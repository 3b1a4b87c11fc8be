"""What may be asked of a node about its HTTP edge: who may use it, and what they have pinned. Pure."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from meshconsole.control.wire import Message
from meshconsole.core.status import EdgePin, EdgeStatus, EdgeToken  # noqa: TC001 - msgspec reads the annotations

TokenName = Annotated[str, Meta(min_length=1, max_length=32, pattern=r"^[0-9A-Za-z._-]+$")]


class ShowEdge(Message, frozen=True):
    """Answered with `EdgeData`."""


class MakeToken(Message, frozen=True):
    """Answered with `TokenData`, the only time that the token is told."""

    name: TokenName


class RevokeToken(Message, frozen=True):
    """Nobody may use it any more. What it has pinned stays, unless `unpin`."""

    name: TokenName
    unpin: bool = False


class ListPins(Message, frozen=True):
    """What was asked for over the pinning service, the newest first. Answered with `PinsData`."""


class EdgeData(Message, frozen=True):
    """`edge` is None where it is off. `blobs` are those of Nostr clients."""

    edge: EdgeStatus | None
    tokens: tuple[EdgeToken, ...] = ()
    blobs: int = 0
    blob_bytes: int = 0


class TokenData(Message, frozen=True):
    token: str


class PinsData(Message, frozen=True):
    pins: tuple[EdgePin, ...]


EdgeCommand = ShowEdge | MakeToken | RevokeToken | ListPins
EdgeReply = EdgeData | TokenData | PinsData
