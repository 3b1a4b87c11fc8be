"""What is wrong with this node now: each condition of core/health.py, asked of the room that knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.health import Found
from meshconsole.node.proposing import proposals_of, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshconsole.content.store.blocks import BlocksState
    from meshconsole.core.status import PeerStatus
    from meshconsole.node.ground import Ground

FULL_SOON_S = 3 * 86_400

_EMCON = {
    "quiet": "this node answers, it does not show itself and dials nobody",
    "receive-only": "nothing leaves this node; what is written waits here",
    "dark": "nothing leaves this node and nothing is heard",
}


def whats_wrong(
    node: Ground, peers: tuple[PeerStatus, ...], *, set_back: str, libp2p_trouble: str
) -> Iterator[Found]:
    yield from _limits(node)
    if node.content is not None:
        yield from blocks_of(node.content.blocks_state())
    yield from _trust(node, set_back)
    yield from _reach(node, peers)
    if node.replicating is not None and (short := node.replicating.short()):
        yield Found(
            "few-copies",
            f"{short} files of the team have fewer copies than are wanted.",
            "Copies are made as soon as nodes with room are in reach. See: meshconsole blobs",
        )
    if libp2p_trouble:
        yield Found(
            "libp2p-down",
            f"Other IPFS programs cannot reach this node: {libp2p_trouble}",
            "It is tried again by itself. See the section p2p: meshconsole config show",
        )
    if node.clock.complaint:
        yield Found(
            "clock",
            node.clock.complaint,
            "Set the clock, or let it follow a time server (chrony, systemd-timesyncd).",
        )


def _limits(node: Ground) -> Iterator[Found]:
    governor = node.governor
    if governor.quota.refusing:
        yield Found(
            "storage-full",
            f"Writes are refused: {governor.quota.refusing}.",
            "Free space, or raise limits.max_storage_mb.",
        )
    full_in_s = governor.storage_status().full_in_s
    if full_in_s is not None and full_in_s < FULL_SOON_S:
        hours = max(1, round(full_in_s / 3600))
        yield Found(
            "storage-filling",
            f"At the rate of the last hour the storage quota is used up in {hours} h.",
            "Raise limits.max_storage_mb, or see what grows: meshconsole relay show",
        )
    if governor.is_over_memory:
        yield Found(
            "memory-short",
            "The node uses more memory than it may; new clients are turned away.",
            "Raise limits.max_memory_mb or the service's MemoryHigh, or set limits.performance_mode=saver.",
        )
    if governor.is_out_of_places:
        yield Found(
            "connections-full",
            "All connections are in use; whoever comes next is turned away.",
            "Raise limits.max_connections, or see who holds them: meshconsole relay show",
        )
    if node.unrecorded:
        yield Found("audit-behind", node.unrecorded, "Make room on the disk.")


def blocks_of(state: BlocksState) -> Iterator[Found]:
    """Pure."""
    if state.trouble:
        yield Found("blocks-away", f"Files can be neither stored nor read. {state.trouble}", state.remedy)
    for warning in state.warnings:
        yield Found(
            "blocks-at-risk",
            f"{warning}.",
            'See docs/operator.md, Files, "In a Kubo node".',
            about=warning,
        )


def _trust(node: Ground, set_back: str) -> Iterator[Found]:
    if set_back:
        yield Found(
            "set-back",
            f"This home was set back to an earlier state: {set_back}",
            "Find out who did it and when. It acts on the team again once a teammate's device was met, "
            "or after: meshconsole audit acknowledge",
        )
    if node.access.public():
        yield Found(
            "relay-public",
            "The relay is public: anybody who reaches it may read and write plain notes.",
            "Turn it back with: meshconsole config set privacy.share_with_team_only=true",
        )
    team = node.membership.team
    if team is None:
        yield Found(
            "no-team",
            "This node has no team yet.",
            "Create one: meshconsole team create NAME. Or join one: meshconsole team join INVITE",
        )
        return
    for proposal in proposals_of(team, node.identity.npub):
        yield waiting(proposal)
    if team.rotation_due:
        yield Found(
            "rotation-owed",
            "Somebody who may not read any more could still hold the team's key.",
            "An admin's device turns it by itself; at once with: meshconsole team rotate",
        )


def _reach(node: Ground, peers: tuple[PeerStatus, ...]) -> Iterator[Found]:
    emcon = node.config.privacy.emcon
    if emcon != "open":
        yield Found(
            "emcon",
            f"Emission control is {emcon}: {_EMCON[emcon]}.",
            "Back with: meshconsole emcon open",
        )
    yield from reach_of(peers)
    for uplink in node.mesh.uplinks() if node.mesh is not None else ():
        if uplink.state in ("refused", "waiting"):
            yield Found(
                "uplink-failing",
                f"The uplink {uplink.url} carries nothing: {uplink.note or uplink.state}.",
                "It is tried again by itself. If it stays so: ask its operator, or change mesh.uplinks.",
                about=uplink.url,
            )


def reach_of(peers: tuple[PeerStatus, ...]) -> Iterator[Found]:
    """Pure."""
    linked = [peer for peer in peers if peer.links]
    if peers and not linked:
        yield Found(
            "no-links",
            "No other device of the team is linked: nobody hears this node.",
            "Find the cause: meshconsole netcheck, and meshconsole why NAME",
        )
    deaf = [peer.name or peer.npub[:8] for peer in linked if peer.hears_us is False]
    if deaf:
        more = f" and {len(deaf) - 3} more" if len(deaf) > 3 else ""
        yield Found(
            "not-heard",
            f"Linked, but not hearing this node: {', '.join(deaf[:3])}{more}.",
            f"See: meshconsole why {deaf[0]}",
        )
