"""What a node tells about itself: frozen, replaced whole, and never holding a secret. Pure.

These structs cross the control socket and fill the panes, `meshconsole status` and `--json` alike,
so that the three can never disagree. Times are seconds since the epoch, sizes bytes, rates bytes
per second, unless a name says otherwise.
"""

from __future__ import annotations

from meshconsole.core.status.frozen import Frozen
from meshconsole.core.status.limits import LimitsStatus, StorageStatus
from meshconsole.core.status.node import HealthItem, NodeStatus, Severity
from meshconsole.core.status.peers import (
    CLOCK_QUALITIES,
    LINK_CLASSES,
    AttemptStatus,
    ClockQuality,
    GuestState,
    GuestStatus,
    LinkClass,
    LinkStatus,
    PathName,
    PeerState,
    PeerStatus,
    UplinkState,
    UplinkStatus,
)
from meshconsole.core.status.programs import (
    EdgePart,
    EdgePin,
    EdgeStatus,
    EdgeToken,
    Libp2pPeer,
    Libp2pStatus,
)
from meshconsole.core.status.reading import BlobState, BlobView, EventView, JobState, JobView, SentStatus
from meshconsole.core.status.relay import KindCount, RelayRates, RelayStatus, SlowClient, Talker
from meshconsole.core.status.team import (
    ClientStatus,
    MemberStatus,
    ProposalStatus,
    RollAnswer,
    RollCallStatus,
    RollState,
    RollStatus,
    RollWord,
    TeamStatus,
)

__all__ = [
    "CLOCK_QUALITIES",
    "LINK_CLASSES",
    "AttemptStatus",
    "BlobState",
    "BlobView",
    "ClientStatus",
    "ClockQuality",
    "EdgePart",
    "EdgePin",
    "EdgeStatus",
    "EdgeToken",
    "EventView",
    "Frozen",
    "GuestState",
    "GuestStatus",
    "HealthItem",
    "JobState",
    "JobView",
    "KindCount",
    "Libp2pPeer",
    "Libp2pStatus",
    "LimitsStatus",
    "LinkClass",
    "LinkStatus",
    "MemberStatus",
    "NodeStatus",
    "PathName",
    "PeerState",
    "PeerStatus",
    "ProposalStatus",
    "RelayRates",
    "RelayStatus",
    "RollAnswer",
    "RollCallStatus",
    "RollState",
    "RollStatus",
    "RollWord",
    "SentStatus",
    "Severity",
    "SlowClient",
    "StorageStatus",
    "Talker",
    "TeamStatus",
    "UplinkState",
    "UplinkStatus",
]
