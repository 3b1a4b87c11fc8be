"""The whole snapshot of a node, and what is wrong with it. Pure."""

from __future__ import annotations

from typing import Literal

from meshconsole.core.sections import EmconLevel
from meshconsole.core.status.frozen import Frozen
from meshconsole.core.status.limits import LimitsStatus, StorageStatus
from meshconsole.core.status.peers import GuestStatus, PeerStatus, UplinkStatus
from meshconsole.core.status.programs import EdgeStatus, Libp2pStatus
from meshconsole.core.status.reading import EventView, SentStatus
from meshconsole.core.status.relay import RelayStatus
from meshconsole.core.status.team import RollCallStatus, TeamStatus

Severity = Literal["info", "warning", "critical"]


class HealthItem(Frozen, frozen=True):
    """Something that is wrong, and has been for long enough to be said. The codes are in core/health.py."""

    code: str
    severity: Severity
    text: str
    remedy: str = ""
    since: float = 0.0
    hides: tuple[str, ...] = ()
    """Codes of what is wrong because of this, and therefore not told beside it."""

    @property
    def hidden_words(self) -> str:
        return f"Not told beside it: {', '.join(self.hides)}." if self.hides else ""

    @property
    def line(self) -> str:
        """All of it."""
        return " ".join(filter(None, (self.text, self.remedy, self.hidden_words)))


class NodeStatus(Frozen, frozen=True):
    """The whole snapshot."""

    version: str
    name: str
    npub: str
    started: float
    now: float
    listen: tuple[str, ...]
    relay: RelayStatus
    storage: StorageStatus
    limits: LimitsStatus
    peers: tuple[PeerStatus, ...] = ()
    team: TeamStatus | None = None
    capabilities: tuple[str, ...] = ()
    provider: str = ""
    suite: str = ""
    """Of this device's keys, and so of any team that it founds or joins."""
    fingerprint: str = ""
    """Of this device's keys."""
    uplinks: tuple[UplinkStatus, ...] = ()
    discovery: tuple[str, ...] = ()
    """One line for each rung: what it does now or why it does not."""
    health: tuple[HealthItem, ...] = ()
    sent: tuple[SentStatus, ...] = ()
    """The newest notes of this device, newest first, and who has them."""
    wss: tuple[str, ...] = ()
    """Where plain clients reach the relay by TLS."""
    emcon: EmconLevel = "open"
    roll_call: RollCallStatus | None = None
    """The newest, with its board."""
    unread: tuple[EventView, ...] = ()
    """Flash notes of others, the oldest first, that nobody has acknowledged here yet."""
    has_passphrase: bool = False
    """It was opened with one, so that a console can lock itself behind it."""
    guests: tuple[GuestStatus, ...] = ()
    libp2p: Libp2pStatus | None = None
    """Other IPFS programs; None where p2p.enable is off."""
    edge: EdgeStatus | None = None
    """Where it is on."""
