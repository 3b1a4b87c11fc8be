"""What may be asked of a node about its guests: browsers that the owner lets in for a time. Pure."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from meshconsole.control.wire import Message
from meshconsole.core.status import GuestStatus  # noqa: TC001 - msgspec reads the annotation

Code = Annotated[str, Meta(min_length=1, max_length=16)]
Name = Annotated[str, Meta(max_length=32)]
Hours = Annotated[float, Meta(ge=0.1, le=720)]
NoteText = Annotated[str, Meta(min_length=1, max_length=4096)]


class OpenGuestLink(Message, frozen=True):
    """A link for one browser on this machine. `name` "" is what the guest says; `hours` None is what the
    configuration says. Answered with `GuestLinkData`."""

    name: Name = ""
    hours: Hours | None = None
    link_s: Annotated[int, Meta(ge=60, le=86_400)] = 600


class ListGuests(Message, frozen=True):
    """Who waits and who is let in. Answered with `GuestsData`."""


class AdmitGuest(Message, frozen=True):
    """`code` is what that browser shows; spaces in it count for nothing."""

    code: Code
    name: Name = ""
    hours: Hours | None = None


class RefuseGuest(Message, frozen=True):
    code: Code


class RemoveGuest(Message, frozen=True):
    """By name, or by the beginning of the key. A channel of that guest ends at once."""

    who: Annotated[str, Meta(min_length=1, max_length=64)]


class SayToGuests(Message, frozen=True):
    """A plain note of this node in the guests' room, which is not sealed. Answered with `EventsData`."""

    text: NoteText


class GuestLinkData(Message, frozen=True):
    """`until` is in seconds since the epoch."""

    url: str
    until: float


class GuestsData(Message, frozen=True):
    guests: tuple[GuestStatus, ...]


GuestCommand = OpenGuestLink | ListGuests | AdmitGuest | RefuseGuest | RemoveGuest | SayToGuests
GuestData = GuestLinkData | GuestsData
