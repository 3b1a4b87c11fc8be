"""The node's snapshot: what every room says of itself, put together. Nothing is computed twice."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from meshconsole import __version__
from meshconsole.core.config import capabilities
from meshconsole.core.status import ClientStatus, MemberStatus, NodeStatus, TeamStatus
from meshconsole.crypto.bundle import fingerprint
from meshconsole.node.proposing import proposals_of
from meshconsole.node.rollcalls import roll_call
from meshconsole.team.rules import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.core.status import (
        EdgeStatus,
        GuestStatus,
        HealthItem,
        Libp2pStatus,
        PeerStatus,
        RollCallStatus,
    )
    from meshconsole.node.ground import Ground
    from meshconsole.team.state import Team


def node_status(
    node: Ground,
    look_at_health: Callable[[tuple[PeerStatus, ...]], tuple[HealthItem, ...]],
    *,
    guests: tuple[GuestStatus, ...],
    libp2p: Libp2pStatus | None,
    edge: EdgeStatus | None,
) -> NodeStatus:
    now = time.time()
    peers = node.mesh.status() if node.mesh is not None else ()
    names = {peer.npub: peer.name for peer in peers}
    peers = tuple(node.routes.marked(peer, lambda npub: names.get(npub, npub[:8]), now) for peer in peers)
    door = node.server if node.server is not None else node.relay
    relay = door.status(node.addresses)
    return NodeStatus(
        version=__version__,
        name=node.config.node.name,
        npub=node.identity.npub,
        started=node.started,
        now=now,
        listen=node.addresses,
        wss=node.server.tls_addresses if node.server is not None else (),
        relay=relay,
        storage=node.governor.storage_status(),
        limits=node.governor.limits_status(relay.refusals, node.performance.words),
        peers=peers,
        team=_team_status(node.membership.team, node.identity.npub),
        capabilities=capabilities(node.config),
        provider=f"{node.provider.name} {node.provider.version}",
        suite=node.identity.suite.name,
        fingerprint=fingerprint(node.identity.bundle_hash),
        uplinks=node.mesh.uplinks() if node.mesh is not None else (),
        discovery=node.mesh.discovery_lines() if node.mesh is not None else (),
        health=look_at_health(peers),
        sent=tuple(node.mesh.flashing.status()) if node.mesh is not None else (),
        roll_call=node_roll_call(node),
        emcon=node.config.privacy.emcon,
        unread=node.unread.views(),
        has_passphrase=node.has_passphrase,
        guests=guests,
        libp2p=libp2p,
        edge=edge,
    )


def node_roll_call(node: Ground) -> RollCallStatus | None:
    team = _team_status(node.membership.team, node.identity.npub)
    sent = node.mesh.flashing.status() if node.mesh is not None else ()
    return roll_call(node.recent.rolls(), team.members if team else (), {note.id: note.has for note in sent})


def pulse_line(status: NodeStatus) -> str:
    """What a service manager shows of it."""
    linked = sum(1 for peer in status.peers if peer.links)
    peers = f"{linked} peer{'' if linked == 1 else 's'} linked"
    worst = next((item for item in status.health if item.severity == "critical"), None)
    return f"{peers}, {status.storage.events_count:,} events" + (f"; {worst.text}" if worst else "")


def _team_status(team: Team | None, npub: str) -> TeamStatus | None:
    if team is None:
        return None
    members = tuple(
        MemberStatus(member.npub, member.name, member.role, member.fingerprint, me=member.npub == npub)
        for member in team.members()
        if not member.removed
    )
    return TeamStatus(
        name=team.name,
        team_id=team.team_id.hex(),
        suite=team.suite.name,
        epoch=team.epoch,
        role=team.my_role or "",
        members=members,
        clients=tuple(ClientStatus(c.npub, c.name, c.writes) for c in team.clients()),
        rules=shown(team.rules),
        proposals=proposals_of(team, npub),
        rotation_owed=team.rotation_due,
    )
