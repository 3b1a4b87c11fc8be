"""What may be asked of a node about its team. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from meshconsole.control.wire import ClientRole, Message, Role


class Invite(Message, frozen=True):
    """Opens an invite. Empty `addresses`: the node names its own. Answered with `InviteData`."""

    addresses: Annotated[tuple[str, ...], Meta(max_length=8)] = ()
    lifetime_s: Annotated[int, Meta(ge=60, le=30 * 86_400)] = 3600
    role: Role = "member"
    replaces: Annotated[str, Meta(max_length=64)] = ""
    """The npub of a lost device whose owner gets a new one."""
    person: Annotated[str, Meta(max_length=64)] = ""
    """The npub of another device of the same person, which stays."""


class JoinTeam(Message, frozen=True):
    """Uses an invite's text. Only for a node without a team."""

    invite: Annotated[str, Meta(max_length=1024)]


class CreateTeam(Message, frozen=True):
    """Founds a team with this node as its first admin. Only for a node without a team. `root` is the
    key bundle event of the offline key that outranks all admins."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    root: Annotated[bytes, Meta(max_length=65_536)] = b""


class SetRole(Message, frozen=True):
    npub: str
    role: Role


class RemoveMember(Message, frozen=True):
    """Removes a device and turns the team's key in the same entry."""

    npub: str


class RotateKey(Message, frozen=True):
    """Starts a new epoch."""


class SetPolicy(Message, frozen=True):
    """Rules for the whole team, as text by name: {"rotate_days": "30", "require_authentication": "on"}."""

    rules: Annotated[dict[str, str], Meta(min_length=1, max_length=32)]


class AdmitClient(Message, frozen=True):
    """Lets a plain Nostr key (npub1… or hex) use the team's relays. `RemoveMember` ends it."""

    npub: Annotated[str, Meta(max_length=128)]
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    role: ClientRole = "member"


class AgreeToProposal(Message, frozen=True):
    """Carries out what another admin has proposed. The beginning of its id is enough."""

    id: Annotated[str, Meta(min_length=4, max_length=64)]


class RefuseProposal(Message, frozen=True):
    """Ends a proposal for good. The beginning of its id is enough."""

    id: Annotated[str, Meta(min_length=4, max_length=64)]


class ListInvites(Message, frozen=True):
    """The invites that this device has out. Answered with `InvitesData`."""


class RevokeInvite(Message, frozen=True):
    """`id` as `ListInvites` gives it; its beginning is enough."""

    id: Annotated[str, Meta(min_length=4, max_length=16)]


class ListRoster(Message, frozen=True):
    """The team's signed control events, for acts of the offline root key. Answered with `RosterData`."""


class InviteData(Message, frozen=True):
    """`text` is what the other device types or scans."""

    text: str
    expires: int
    addresses: tuple[str, ...]


class ProposedData(Message, frozen=True):
    """What was asked for needs a second admin: it has been proposed, and not done yet."""

    id: str


class OpenInvite(msgspec.Struct, frozen=True):
    """An invite that may still be used. `expires` is in seconds since the epoch."""

    id: str
    expires: int
    role: str
    replaces: str = ""


class InvitesData(Message, frozen=True):
    invites: tuple[OpenInvite, ...]


class RosterData(Message, frozen=True):
    """Canonical events; none of them is a secret."""

    team_id: str
    events: tuple[bytes, ...]


TeamCommand = (
    Invite
    | JoinTeam
    | CreateTeam
    | SetRole
    | RemoveMember
    | RotateKey
    | SetPolicy
    | AdmitClient
    | AgreeToProposal
    | RefuseProposal
    | ListInvites
    | RevokeInvite
    | ListRoster
)
