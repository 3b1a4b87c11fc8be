"""libp2p inside the node: on while the owner wants it, under the owner's limits, for whom the team vouches.

A teammate's device says its libp2p peer id in the Hello of a link, whose handshake has proven who it is; it
is remembered and counts for as long as the roster has the device. Programs that are no meshconsole are
named by the owner (`p2p.peers`). In radio silence all of it is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from meshconsole.core.errors import MeshconsoleError
from meshconsole.core.status import Libp2pPeer, Libp2pStatus
from meshconsole.mesh.addresses import host_addresses
from meshconsole.node.content_room import is_of_team
from meshconsole.node.listen import split_listen

if TYPE_CHECKING:
    from meshconsole.content.libp2p.service import Libp2p, Settings
    from meshconsole.node.ground import Ground

log = logging.getLogger(__name__)

RETRY_S = 30.0
KNOWN = "libp2p"
"""Peer ids of the team's devices, by npub, in the node's state."""


class Libp2pRoom:
    def __init__(self, node: Ground, secret: bytes) -> None:
        self._node = node
        self._secret = secret
        self._running: Libp2p | None = None
        self._settings: Settings | None = None
        self._known: dict[str, str] = node.state.get(KNOWN, dict[str, str], {})
        self.is_due = asyncio.Event()
        """Settings have changed, or what they depend on."""
        self.trouble = ""
        node.door.counts.append(lambda: self.connections)

    async def start(self) -> None:
        """Before the mesh, so that the first Hello names the peer id."""
        await self._settle()

    async def follow(self) -> None:
        """Stops and starts it anew as the settings say, and stops it at the end."""
        try:
            while True:
                self.is_due.clear()
                await self._settle()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_S if self.trouble else None):
                        await self.is_due.wait()
        finally:
            await self._stop()

    async def _settle(self) -> None:
        wanted = self._wanted()
        if wanted == self._settings and not self.trouble:
            return
        await self._stop()
        self.trouble = ""
        if wanted is not None:
            try:
                await self._start(wanted)
            except MeshconsoleError as error:
                self.trouble = str(error)
                log.warning("libp2p: %s", error)
        self._node.control.status_changed()

    async def _start(self, settings: Settings) -> None:
        from meshconsole.content.libp2p.service import House, Libp2p

        node = self._node
        assert node.content is not None
        house = House(
            teammates=self._teammates,
            admit=self._admit,
            gives=lambda: node.config.capabilities.ipfs_node,
            gives_strangers=lambda: not node.effective.privacy.share_with_team_only,
            own_hosts=host_addresses,
            changed=node.control.status_changed,
            wanted=self._waited_for,
            is_teams=lambda root: is_of_team(node, root),
        )
        running = Libp2p(self._secret, node.content, settings, house, node.governor.bandwidth)
        try:
            await running.start()
        except MeshconsoleError:
            await running.stop()
            raise
        self._running, self._settings = running, settings
        if node.mesh is not None:
            node.mesh.show_libp2p(running.peer.multihash)

    async def _stop(self) -> None:
        running, self._running, self._settings = self._running, None, None
        if running is not None:
            await running.stop()
            if self._node.mesh is not None and self._wanted() is None:
                self._node.mesh.show_libp2p(b"")

    def _wanted(self) -> Settings | None:
        p2p, emcon = self._node.config.p2p, self._node.config.privacy.emcon
        if not p2p.enable or emcon in ("receive-only", "dark"):
            return None
        from meshconsole.content.libp2p.host import Bounds
        from meshconsole.content.libp2p.kademlia import LAN, PUBLIC
        from meshconsole.content.libp2p.service import Settings

        limits = self._node.effective.limits
        bounds = Bounds(
            p2p.max_peers,
            float(limits.handshake_timeout_s),
            float(limits.idle_timeout_s or 86_400),
            limits.new_connections_per_minute,
        )
        host, port = split_listen(p2p.listen)
        return Settings(
            host,
            port,
            p2p.peers,
            p2p.public,
            p2p.mdns,
            emcon == "open",
            bounds,
            dht={"off": "", "lan": LAN, "public": PUBLIC}[p2p.dht],
            dht_servers=p2p.dht_servers,
        )

    def _waited_for(self) -> list[bytes]:
        from meshconsole.content.formats.cid import Cid

        content = self._node.content
        waiting = [job.cid for job in content.jobs() if job.state == "waiting"] if content is not None else []
        return [Cid.parse(cid).multihash for cid in waiting]

    def _admit(self, host: str) -> str:
        verdict = self._node.door.admit("libp2p", host)
        return "" if verdict.accepted else verdict.sentence

    # What teammates' devices say

    def linked(self, npub: str) -> None:
        """A link to the device began or ended: it may have said another peer id."""
        mesh = self._node.mesh
        said = mesh.libp2p_of(npub) if mesh is not None else b""
        text = _peer_text(said)
        if text and self._known.get(npub) != text:
            self._known[npub] = text
            self._node.state.put(KNOWN, self._known)
            self.recheck()

    def recheck(self) -> None:
        """The roster has changed, or what strangers are given."""
        if self._running is not None:
            self._running.recheck()

    def _teammates(self) -> dict[str, str]:
        """Peer ids of the devices that are in the roster now, and their names."""
        team = self._node.membership.team
        if team is None:
            return {}
        live = {member.npub: member.name for member in team.members() if not member.removed}
        return {peer: live[npub] for npub, peer in self._known.items() if npub in live}

    # What is told

    @property
    def connections(self) -> int:
        return len(self._running.host.all()) if self._running is not None else 0

    def status(self) -> Libp2pStatus | None:
        running = self._running
        if running is None:
            return Libp2pStatus("", trouble=self.trouble) if self.trouble else None
        names = self._teammates()
        return Libp2pStatus(
            peer=str(running.peer),
            addresses=tuple(str(each.with_peer(running.peer)) for each in running.addresses()),
            peers=tuple(
                Libp2pPeer(
                    peer=line.peer,
                    name=names.get(line.peer, ""),
                    address=line.address,
                    team=line.standing == "team",
                    connected=line.connected,
                    agent=line.agent,
                    bytes_in=line.bytes_in,
                    bytes_out=line.bytes_out,
                    note=line.error,
                )
                for line in running.peers()
            ),
            dht=running.finding.line if running.finding is not None else "",
            refused=dict(running.host.faults),
        )


def _peer_text(multihash: bytes) -> str:
    if not multihash:
        return ""
    from meshconsole.content.libp2p.keys import PeerId
    from meshconsole.core.errors import RemoteError

    try:
        return str(PeerId.decode(multihash))
    except RemoteError:
        return ""
