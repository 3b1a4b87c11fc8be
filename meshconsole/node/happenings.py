"""What the rooms tell the node, passed on: to the team, the console, the audit log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from meshconsole.content.happenings import BlockCorrupt, FetchProgress, IndexRebuilt, PresenceChanged
from meshconsole.core import kinds
from meshconsole.core.health import Found
from meshconsole.core.precedence import mark_of
from meshconsole.core.text import safe
from meshconsole.core.verdict import ACCEPTED
from meshconsole.mesh.happenings import JoinAnswered, LinkDown, LinkRefused, LinkUp
from meshconsole.node.audit.refusals import RefusalDigest
from meshconsole.node.proposing import proposals_of, waiting
from meshconsole.relay.relay import RefusedEvent, Stored

if TYPE_CHECKING:
    from meshconsole.core.event import Event
    from meshconsole.mesh.happenings import MeshHappening
    from meshconsole.node.audit.keeping import AuditKeeping
    from meshconsole.node.ground import Ground
    from meshconsole.node.libp2p_room import Libp2pRoom
    from meshconsole.node.teamwork import Teamwork
    from meshconsole.node.vouching import Vouching

MAX_DAMAGE = 8


class Happenings:
    """Listens on the node's bus; every method returns at once."""

    def __init__(
        self,
        node: Ground,
        teamwork: Teamwork,
        vouching: Vouching,
        libp2p: Libp2pRoom,
        audit_keeping: AuditKeeping,
    ) -> None:
        self._node = node
        self._teamwork = teamwork
        self._vouching = vouching
        self._libp2p = libp2p
        self._audit_keeping = audit_keeping
        self._refused_links = RefusalDigest()
        self._refused_joins = RefusalDigest()
        self.damage: list[Found] = []

    def listen(self) -> None:
        bus = self._node.bus
        bus.listen(Stored, self.on_stored)
        bus.listen(RefusedEvent, self.on_refused)
        bus.listen((LinkUp, LinkDown, LinkRefused, JoinAnswered), self.on_mesh)
        bus.listen((BlockCorrupt, IndexRebuilt), self.on_damage)
        bus.listen((FetchProgress, PresenceChanged), self.on_content)

    def on_stored(self, stored: Stored) -> None:
        event = stored.event
        if self._node.mesh is not None:  # first, whatever may come of the rest: peers follow this node's log
            self._node.mesh.on_stored(stored)
        self._node.routes.saw(event.pubkey, stored.via, stored.received_at)
        if event.kind in kinds.CARRIED_KINDS:
            self._node.clock.saw(event.created_at)
        if self._node.membership.accept(event) is not None:
            self._teamwork.is_new.set()
        if event.kind == kinds.PROPOSAL:
            self._proposed(event.id)
        if event.kind == kinds.CHECKPOINT:
            self._vouching.heard(event)
        if event.kind == kinds.FILE_MANIFEST and self._node.files is not None:
            self._node.files.learn(event)
        if event.kind == kinds.HOLDINGS:
            if self._node.replicating is not None:
                self._node.replicating.learn(event)
            return  # every node says it again and again: nothing for people to read
        node = self._node
        raw, seq, received_at, via = stored.raw, stored.seq, stored.received_at, stored.via
        if not node.control.clients and node.recent.add_unseen(event, raw, seq, received_at, via):
            return
        view = node.recent.add(
            event, seq=seq, received_at=received_at, size=len(raw), via=via, verdict=ACCEPTED
        )
        self._acknowledge(event)
        node.control.events_happened([view])

    def _proposed(self, event_id: str) -> None:
        team = self._node.membership.team
        for proposal in proposals_of(team, self._node.identity.npub) if team is not None else ():
            if proposal.id == event_id and not proposal.mine:
                item = waiting(proposal)
                self._node.notice("warning", item.text, item.remedy)
        self._node.control.status_changed()

    def _acknowledge(self, event: Event) -> None:
        """A flash note of somebody else's, durably: its author must hear of it, and people here see it."""
        node, team, me = self._node, self._node.membership.team, self._node.identity.npub
        if team is None or mark_of(event) != "flash" or event.pubkey == me or not team.may_read(me):
            return
        node.unread.arrived(event.id, event.created_at)
        node.control.status_changed()
        if node.mesh is not None:
            node.mesh.flashing.acknowledge(bytes.fromhex(event.id), "delivered")

    def on_refused(self, refused: RefusedEvent) -> None:
        if refused.verdict.accepted or self._node.aside.keep(refused):
            return
        if refused.event is not None:
            view = self._node.recent.add(
                refused.event,
                seq=0,
                received_at=refused.received_at,
                size=refused.size,
                via=refused.via,
                verdict=refused.verdict,
            )
            self._node.control.events_happened([view])

    def on_mesh(self, happening: MeshHappening) -> None:
        match happening:
            case LinkUp() | LinkDown():
                self._audit_keeping.link(happening)
                self._libp2p.linked(happening.npub)
            case LinkRefused(reason=reason):
                self._node.governor.count_refusal("link", reason)
                if times := self._refused_links.note(reason, time.monotonic()):
                    self._node.record("link-refused", reason=reason, times=str(times))
            case JoinAnswered(npub=npub, accepted=True, sentence=sentence, name=name):
                self._node.record("join", device=npub, accepted="True", sentence=sentence)
                self._node.notice("info", f"{safe(name, 64)} has joined the team.")
            case JoinAnswered(sentence=sentence):
                if times := self._refused_joins.note(sentence, time.monotonic()):
                    self._node.record("join-refused", sentence=sentence, times=str(times))
        if isinstance(happening, LinkUp | LinkDown) and self._node.replicating is not None:
            self._node.replicating.is_due.set()
        self._node.control.status_changed()

    def on_damage(self, happening: BlockCorrupt | IndexRebuilt) -> None:
        found = Found("content-damaged", happening.sentence, about=happening.sentence)
        self.damage = [*self.damage, found][-MAX_DAMAGE:]
        self._node.record("damage", sentence=happening.sentence)
        self._node.notice("warning", happening.sentence)

    def on_content(self, happening: FetchProgress | PresenceChanged) -> None:
        if self._node.files is not None:
            self._node.files.presence_changed(happening.cid)
        if self._node.replicating is not None and not _is_under_way(happening):
            self._node.replicating.is_due.set()


def _is_under_way(happening: FetchProgress | PresenceChanged) -> bool:
    return isinstance(happening, FetchProgress) and happening.state in ("waiting", "fetching")
