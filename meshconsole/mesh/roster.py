"""What the mesh asks of the team: who belongs, and by which key. `team.state.Team` answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshconsole.core.event import Event
    from meshconsole.team.invites import AdmittedRole, InviteBook


class Device(Protocol):
    """A device of the team, or one that was removed from it."""

    @property
    def npub(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def role(self) -> str: ...

    @property
    def mldsa_public(self) -> bytes: ...

    @property
    def removed(self) -> bool: ...


class Roster(Protocol):
    def members(self) -> Sequence[Device]: ...

    def member(self, npub: str, /) -> Device | None: ...

    def device_for_key(self, mldsa_public: bytes, /) -> Device | None:
        """The device with a live role that holds this key."""

    def datagram_keys(self) -> tuple[bytes, ...]:
        """Keys for sealed datagrams, 32 bytes each, the one to seal with first; empty for a device that holds
        no key of the team."""

    def shorten_note(self, event: Event, /) -> bytes | None:
        """A note without what follows from the rest; None for what is no short note."""

    def lengthen_note(self, data: bytes, /) -> Event | None:
        """The note again; None for nonsense, and for a device that holds no key for it."""

    def rendezvous_tag(self, ephemeral_id: bytes, /) -> str:
        """16 hex digits that only this team's devices can make or recognise."""


def live_device(roster: Roster | None, key: bytes) -> Device | None:
    """The device that may be linked to under this key, if any."""
    device = roster.device_for_key(key) if roster is not None else None
    return None if device is None or device.removed else device


class Team(Roster, Protocol):
    """What joining needs besides."""

    def admit(
        self,
        bundle_event: Event,
        name: str,
        role: AdmittedRole,
        now: int,
        replaces: str | None = None,
        person: str | None = None,
        /,
    ) -> list[Event]:
        """The events that make a device a member, and again its grant if it is one, or that propose it to a
        second admin; `replaces` is the lost device (npub) that it stands in for, `person` another device
        of the same person. Raises Refused."""

    def control_events(self) -> list[Event]:
        """Everything a joining device needs besides its own grant."""


class Membership(Protocol):
    """This node's place in its team; the node changes it when it founds or joins one."""

    @property
    def team(self) -> Team | None: ...

    @property
    def book(self) -> InviteBook: ...

    def save_book(self) -> None:
        """Durable on return; may block."""
