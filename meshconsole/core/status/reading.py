"""What people read and write: events, files, fetches, and who has a note. Pure."""

from __future__ import annotations

from typing import Literal

from meshconsole.core.status.frozen import Frozen
from meshconsole.core.status.team import RollWord

BlobState = Literal["here", "partial", "elsewhere", "fetching", "paused", "failed"]
JobState = Literal["waiting", "fetching", "paused", "done", "failed"]


class EventView(Frozen, frozen=True):
    """One event as people read it. `text` is plain, opened where this node can open it."""

    seq: int
    id: str
    npub: str
    author: str
    created_at: int
    received_at: float
    kind: int
    words: str
    size: int
    accepted: bool
    verdict: str
    text: str = ""
    via: str = ""
    sealed: bool = False
    to: str = ""
    """For whom it is, by name, where it is for one and not for the team."""
    precedence: str = ""
    """Of a note: flash, immediate or priority; "" for routine."""
    roll: RollWord = ""
    """It asks for a roll call, or answers one."""
    about: str = ""
    """The id of the roll call that is answered."""

    @property
    def line(self) -> str:
        """The text, and before it whom it is for."""
        return f"to {self.to}: {self.text}" if self.to else self.text


class BlobView(Frozen, frozen=True):
    """One file of the team."""

    cid: str
    name: str
    size: int
    sealed_size: int
    author: str
    added_at: float
    present_bytes: int
    state: BlobState
    pinned: bool = False
    error: str = ""
    copies: tuple[str, ...] = ()
    """Names of the devices that hold all of it and count, this one among them."""
    copies_wanted: int = 0
    copies_away: tuple[str, ...] = ()
    """Devices that hold all of it and have been away for too long to count."""

    @property
    def is_short(self) -> bool:
        """There are fewer copies than the team or the owner wants."""
        return len(self.copies) < self.copies_wanted


class JobView(Frozen, frozen=True):
    """One fetch that is not done. `total_bytes` is None until known."""

    cid: str
    name: str
    have_bytes: int
    total_bytes: int | None
    state: JobState
    peers: int = 0
    """How many peers have said that they hold parts of it."""
    error: str = ""


class SentStatus(Frozen, frozen=True):
    """What became of one note of this device."""

    id: str
    at: float
    precedence: str
    state: str
    """queued; carried N/K: so many of the K devices that read have it; at hub: only devices that pass it on;
    delivered: all have it; read N/K: so many have said that they read it."""
    to: int
    has: tuple[str, ...] = ()
    """By npub, as are the others."""
    lacks: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
