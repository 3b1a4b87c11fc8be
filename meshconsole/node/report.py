"""The node's snapshot: what every room says of itself, put together. Nothing is computed twice."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from meshconsole import __version__
from meshconsole.core.config import capabilities
from meshconsole.core.status import ClientStatus, HealthItem, MemberStatus, NodeStatus, TeamStatus
from meshconsole.crypto.bundle import fingerprint
from meshconsole.node.proposing import proposals_of, waiting
from meshconsole.team.rules import shown

if TYPE_CHECKING:
    from meshconsole.node.node import Node
    from meshconsole.team.state import Team


_EMCON = {
    "quiet": "this node answers, it does not show itself and dials nobody",
    "receive-only": "nothing leaves this node; what is written waits here",
    "dark": "nothing leaves this node and nothing is heard",
}


def node_status(node: Node) -> NodeStatus:
    peers = node.mesh.status() if node.mesh is not None else ()
    door = node.server if node.server is not None else node.relay
    relay = door.status(node.addresses)
    return NodeStatus(
        version=__version__,
        name=node.config.node.name,
        npub=node.identity.npub,
        started=node.started,
        now=time.time(),
        listen=node.addresses,
        wss=node.server.tls_addresses if node.server is not None else (),
        relay=relay,
        storage=node.governor.storage_status(),
        limits=node.governor.limits_status(relay.refusals),
        peers=peers,
        team=_team_status(node.membership.team, node.identity.npub),
        capabilities=capabilities(node.config),
        provider=f"{node.provider.name} {node.provider.version}",
        suite=node.identity.suite.name,
        fingerprint=fingerprint(node.identity.bundle_hash),
        uplinks=node.mesh.uplinks() if node.mesh is not None else (),
        discovery=node.mesh.discovery_lines() if node.mesh is not None else (),
        health=_health(node),
        sent=tuple(node.mesh.flashing.status()) if node.mesh is not None else (),
        has_passphrase=node.has_passphrase,
    )


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


def _health(node: Node) -> tuple[HealthItem, ...]:
    items = list(node.supervisor.health()) if node.supervisor is not None else []
    if node.governor.quota.refusing:
        items.append(
            HealthItem(
                "storage-full",
                "critical",
                f"Writes are refused: {node.governor.quota.refusing}.",
                "Raise limits.max_storage_mb, or delete something.",
            )
        )
    if node.vouching.set_back:
        items.append(
            HealthItem(
                "set-back",
                "critical",
                f"This home was set back to an earlier state: {node.vouching.set_back}",
                "Find out who did it and when. It acts on the team again once a teammate's device was met, "
                "or after: meshconsole audit acknowledge",
            )
        )
    if node.replicating is not None and (short := node.replicating.short()):
        items.append(
            HealthItem(
                "few-copies",
                "warning",
                f"{short} files of the team have fewer copies than are wanted.",
                "Copies are made as soon as nodes with room are in reach. See: meshconsole blobs",
            )
        )
    if node.unrecorded:
        items.append(HealthItem("audit-behind", "critical", node.unrecorded, "Make room on the disk."))
    if node.access.public():
        items.append(
            HealthItem(
                "relay-public",
                "warning",
                "The relay is public: anybody who reaches it may read and write plain notes.",
                "Turn it back with: meshconsole config set privacy.share_with_team_only=true",
            )
        )
    if node.clock.complaint:
        remedy = "Set the clock, or let it follow a time server (chrony, systemd-timesyncd)."
        items.append(HealthItem("clock", "warning", node.clock.complaint, remedy))
    emcon = node.config.privacy.emcon
    if emcon != "open":
        items.append(
            HealthItem(
                "emcon",
                "warning",
                f"Emission control is {emcon}: {_EMCON[emcon]}.",
                "Back with: meshconsole config set privacy.emcon=open",
            )
        )
    team = node.membership.team
    for proposal in proposals_of(team, node.identity.npub) if team is not None else ():
        items.append(waiting(proposal))
    if team is not None and team.rotation_due:
        items.append(
            HealthItem(
                "rotation-owed",
                "warning",
                "Somebody who may not read any more could still hold the team's key.",
                "An admin's device turns it by itself; at once with: meshconsole team rotate",
            )
        )
    if team is None:
        items.append(
            HealthItem(
                "no-team",
                "info",
                "This node has no team yet.",
                "Create one: meshconsole team create NAME. Or join one: meshconsole team join INVITE",
            )
        )
    items.extend(node.happenings.damage)
    return tuple(items)
