"""The team, and its newest roll call. Pure."""

from __future__ import annotations

from typing import Literal

from meshconsole.core.status.frozen import Frozen

RollAnswer = Literal["ok", "help", "out"]
RollWord = Literal["", "ask", "ok", "help", "out"]
RollState = Literal["ok", "help", "out", "carried", "silent"]


class TeamStatus(Frozen, frozen=True):
    name: str
    team_id: str
    suite: str
    epoch: int
    role: str
    members: tuple[MemberStatus, ...] = ()
    clients: tuple[ClientStatus, ...] = ()
    rules: tuple[tuple[str, str], ...] = ()
    """Name and value of each rule that the team has set; "-" where it leaves it to the owner."""
    proposals: tuple[ProposalStatus, ...] = ()
    """What waits for a second admin, the oldest first."""
    rotation_owed: bool = False
    """The team's key may be held by somebody who may not read any more, until an admin turns it."""


class ClientStatus(Frozen, frozen=True):
    """A plain Nostr key that may use the team's relays. Not post-quantum."""

    npub: str
    name: str
    writes: bool


class ProposalStatus(Frozen, frozen=True):
    """Something that an admin wants done and a second one must agree to."""

    id: str
    npub: str
    author: str
    words: str
    made: int
    mine: bool = False
    """Proposed by this device, so that another one must agree."""


class MemberStatus(Frozen, frozen=True):
    npub: str
    name: str
    role: str
    fingerprint: str
    me: bool = False


class RollStatus(Frozen, frozen=True):
    """One device on the board of a roll call."""

    npub: str
    name: str
    state: RollState
    """Its last answer; without one: carried, where the call is known to have come there, else silent."""
    at: float | None = None
    """When it answered, by its own clock."""
    me: bool = False


class RollCallStatus(Frozen, frozen=True):
    """A roll call. `id` is that of the event that asks, `words` what it says."""

    id: str
    npub: str
    author: str
    words: str
    at: float
    owed: bool = False
    """This device is asked and has not answered."""
    board: tuple[RollStatus, ...] = ()
