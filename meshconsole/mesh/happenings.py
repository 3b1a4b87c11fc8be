"""What the mesh tells the node's bus. Frozen; sentences are safe to show; no secrets. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from meshconsole.core.status import PathName


class LinkUp(msgspec.Struct, frozen=True):
    """A link to a member's device carries traffic."""

    npub: str
    path: PathName
    address: str
    dialled: bool
    """True if this node opened it."""


class LinkDown(msgspec.Struct, frozen=True):
    npub: str
    path: PathName
    address: str
    by_peer: bool
    reason: str


class LinkRefused(msgspec.Struct, frozen=True):
    """Somebody could not be linked to, or was not let in."""

    address: str
    dialled: bool
    reason: str


class JoinAnswered(msgspec.Struct, frozen=True):
    """Somebody knocked at "/join". `npub` is "" if it was refused before it was known."""

    address: str
    npub: str
    name: str
    accepted: bool
    sentence: str


MeshHappening = LinkUp | LinkDown | LinkRefused | JoinAnswered
