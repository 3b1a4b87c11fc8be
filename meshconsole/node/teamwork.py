"""This node in its team: joining, acting, and what follows when the roster has changed."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from meshconsole.core import kinds
from meshconsole.core.errors import Refused
from meshconsole.core.event import decode_event
from meshconsole.node.content_room import learn_files
from meshconsole.node.proposing import ending_of
from meshconsole.relay.event import read_event
from meshconsole.relay.filter import Filter
from meshconsole.team.invites import decode as decode_invite

if TYPE_CHECKING:
    from meshconsole.core.event import Event
    from meshconsole.core.verdict import Verdict
    from meshconsole.node.applying import Applying
    from meshconsole.node.ground import Ground
    from meshconsole.node.libp2p_room import Libp2pRoom
    from meshconsole.node.vouching import Vouching

log = logging.getLogger(__name__)

TEND_S = 30.0
PROPOSED = "proposed"
CONTROL_LIMIT = 1_000_000


class Teamwork:
    def __init__(self, node: Ground, applying: Applying, libp2p: Libp2pRoom, vouching: Vouching) -> None:
        self._node = node
        self._applying = applying
        self._libp2p = libp2p
        self._vouching = vouching
        self.is_new = asyncio.Event()
        """Set when an entry or a key has come that the rooms have not looked at."""

    async def load(self, team_id: bytes | None = None) -> None:
        wanted = Filter(kinds=kinds.CONTROL_KINDS - {kinds.CHECKPOINT})
        raws = await self._node.relay.query([wanted], CONTROL_LIMIT)
        events = [decode_event(raw) for raw in reversed(raws)]
        await asyncio.to_thread(self._node.membership.load, events, team_id)

    async def act(self, events: list[Event]) -> None:
        """What this device has said about the team: stored as a whole and told to everybody, or, where
        the store will not have it, taken back here too. Raises Refused."""
        await asyncio.shield(self._act(events))

    async def _act(self, events: list[Event]) -> None:
        verdicts = await self._node.relay.publish_many(events, via="local")
        refused = next((verdict for verdict in verdicts if not _is_held(verdict)), None)
        if refused is not None:
            await self.load()
        await self.changed()
        if refused is not None:
            raise Refused(refused.code, refused.sentence)

    def name(self) -> str:
        """Of the team that this device belongs to, "" for none."""
        team = self._node.membership.team
        return "" if team is None else team.name

    async def join(self, text: str) -> str:
        """Joins the team that an invite names. Returns its name. Raises Refused, Unavailable, Fatal."""
        if self._node.membership.team is not None:
            raise Refused(
                "restricted", f"This node already belongs to the team {self._node.membership.team.name}."
            )
        invite = decode_invite(text)
        assert self._node.mesh is not None
        events = await self._node.mesh.join(invite, self._node.config.node.name)
        name = self._node.membership.admitted_to(invite, events)
        for verdict in await self._node.relay.publish_many(events, via="join", own=True):
            if not _is_held(verdict):
                raise Refused(verdict.code, verdict.sentence)
        await self.load(invite.team_id)
        self._node.record("joined", team=name)
        await self.changed()
        return name

    async def found(self, name: str, root: bytes = b"") -> None:
        """`root` is the bundle event of an offline root key, b"" for none. Raises Refused."""
        bundle = read_event(root).event if root else None
        events = self._node.membership.found(name, self._node.config.node.name, int(time.time()), bundle)
        team = self._node.membership.team
        assert team is not None
        await self.act(events)
        await self.load(team.team_id)

    async def changed(self) -> None:
        """The roster or the keys are new: every room looks at them again. A device that was removed
        loses its links; what could not be opened before is opened and shown."""
        self.is_new.clear()
        self._vouching.roster_changed()
        self._node.mirror.changed()
        self._node.relay.apply(self._node.effective.relay)
        if self._node.server is not None:
            self._node.server.recheck()
        if self._node.mesh is not None:
            self._node.mesh.recheck()
            self._applying.tell_strangers()
        self._libp2p.recheck()
        await self._node.aside.offer_again()
        self._tell_ended()
        await learn_files(self._node)
        self._node.control.events_happened(self._node.recent.reopen())
        self._node.control.status_changed()

    def _tell_ended(self) -> None:
        """What came of this device's proposals since it was last looked at, a restart between or not."""
        team, me = self._node.membership.team, self._node.identity.npub
        if team is None:
            return
        state = self._node.state
        waiting = [proposal.id for proposal in team.proposals() if proposal.npub == me]
        before = state.get(PROPOSED, list[str], [])
        if before == waiting:
            return
        state.put(PROPOSED, waiting)
        for proposal_id in before:
            ending = None if proposal_id in waiting else ending_of(team, proposal_id, me)
            if ending is not None:
                self._node.notice(ending.severity, ending.text, ending.remedy)
                self._node.record(f"proposal-{ending.outcome}", proposal=proposal_id, what=ending.text)

    async def follow(self) -> None:
        """Entries that come from teammates are acted on like this node's own; many at once, once."""
        while True:
            await self.is_new.wait()
            await self.changed()

    async def tend(self) -> None:
        """Merges what other admins did meanwhile, and begins a new epoch where one is owed."""
        while True:
            await asyncio.sleep(TEND_S)
            team = self._node.membership.team
            if team is None or self._vouching.set_back:
                continue
            events = team.tend(int(time.time()))
            if events:
                try:
                    await self.act(events)
                except Refused as error:
                    log.warning("the roster could not be tended: %s", error.sentence)


def _is_held(verdict: Verdict) -> bool:
    """Whether the store has the event now, or a newer version of it."""
    return verdict.accepted or verdict.code == "duplicate"
