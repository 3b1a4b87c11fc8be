"""Who may ask the node for what, by the user at the other end of the socket. Pure.

The owner, and root, may do everything. Others come through a second socket, if the owner has made one
(`control.socket`), and are what their Unix groups make them: operators work with the team and change what
takes effect at once; watchers look. Nobody but the owner names a path, because the node would open it with
its own rights, nor touches keys, the log of acts, or the rights themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from meshconsole.control.config import SetConfig
from meshconsole.control.files import CancelFetch, FetchBlob, PauseFetch, Pin, PreviewBlob, Unpin
from meshconsole.control.guests import AdmitGuest, OpenGuestLink, RefuseGuest, RemoveGuest, SayToGuests
from meshconsole.control.messages import READING
from meshconsole.control.notes import AnswerRoll, CallRoll, MarkRead, SendDirect, SendNote, SendPlain
from meshconsole.control.team import (
    AdmitClient,
    AgreeToProposal,
    Invite,
    RefuseProposal,
    RemoveMember,
    RevokeInvite,
    RotateKey,
    SetPolicy,
    SetRole,
)
from meshconsole.core.config import RELOADABLE
from meshconsole.core.errors import Refused

if TYPE_CHECKING:
    from meshconsole.control.messages import Command

Right = Literal["owner", "operator", "watcher"]

ROOT = 0

OPERATING = (
    SendNote,
    CallRoll,
    AnswerRoll,
    SendDirect,
    SendPlain,
    Pin,
    Unpin,
    Invite,
    RevokeInvite,
    SetRole,
    RemoveMember,
    RotateKey,
    SetPolicy,
    AdmitClient,
    AgreeToProposal,
    RefuseProposal,
    SetConfig,
    MarkRead,
    FetchBlob,
    PreviewBlob,
    PauseFetch,
    CancelFetch,
    OpenGuestLink,
    AdmitGuest,
    RefuseGuest,
    RemoveGuest,
    SayToGuests,
)


class Peer(NamedTuple):
    """The process at the other end, as the kernel tells."""

    uid: int
    groups: frozenset[int]


class Groups(NamedTuple):
    """Numbers of Unix groups; None: there is none."""

    operators: int | None = None
    watchers: int | None = None


def right_of(peer: Peer | None, own_uid: int, groups: Groups) -> Right | None:
    """None: may not attach at all. An unknown user may not."""
    if peer is None:
        return None
    if peer.uid in (own_uid, ROOT):
        return "owner"
    if groups.operators in peer.groups:
        return "operator"
    if groups.watchers in peer.groups:
        return "watcher"
    return None


def check_right(right: Right, command: Command) -> None:
    """Raises Refused where the command is not for this user."""
    if right == "owner" or isinstance(command, READING):
        return
    if right == "watcher":
        raise Refused("restricted", "Your account may look at this node and change nothing.")
    if not isinstance(command, OPERATING):
        raise Refused("restricted", "Only the node's own user may do this.")
    if isinstance(command, SetConfig):
        keys = {f"{section}.{key}" for section, values in command.values.items() for key in values}
        if kept := sorted(keys - RELOADABLE):
            raise Refused("restricted", f"Only the node's own user may change {', '.join(kept)}.")
