"""What the console and the command line may ask of a node: handed to the part that speaks of its subject.

Every command ends in a Reply with a verdict. A MeshconsoleError raised here becomes the refusal;
acts that change who may do what are written to the audit log before they are answered.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from meshconsole.control import messages as m
from meshconsole.control.audit import AuditCommand
from meshconsole.control.config import ConfigCommand
from meshconsole.control.desk import DeskData, KeepDesk, RecallDesk
from meshconsole.control.edge import EdgeCommand
from meshconsole.control.guests import GuestCommand
from meshconsole.control.keys import KeyCommand
from meshconsole.control.notes import NoteCommand
from meshconsole.control.reach import ReachCommand
from meshconsole.core.health import as_finding
from meshconsole.node.acts.audit import answer_about_audit
from meshconsole.node.acts.config import ConfigActs
from meshconsole.node.acts.edge import answer_about_edge
from meshconsole.node.acts.files import FileActs
from meshconsole.node.acts.keys import KeyActs
from meshconsole.node.acts.notes import NoteActs
from meshconsole.node.acts.reach import answer_about_reach
from meshconsole.node.acts.relay import RelayActs
from meshconsole.node.acts.team import TeamActs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshconsole.control.server import Report
    from meshconsole.core.reachability import Finding
    from meshconsole.core.status import NodeStatus, PeerStatus
    from meshconsole.node.node import Node

DESK = "desk"
"""Where the console was left, in the node's state."""


class Commands:
    """The node's `ControlHandler`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._team = TeamActs(node, node.teamwork, node.vouching)
        self._notes = NoteActs(node)
        self._keys = KeyActs(node, node.teamwork, node.request_stop)
        self._config = ConfigActs(node, node.applying, node.reloading)
        self._relay = RelayActs(node)
        self._files = FileActs(node)

    def status(self) -> NodeStatus:
        return self._node.status()

    async def handle(self, command: m.Command, report: Report) -> m.Reply:
        node = self._node
        if isinstance(command, NoteCommand):
            return await self._notes.handle(command)
        if isinstance(command, KeyCommand):
            return await self._keys.handle(command)
        if isinstance(command, ConfigCommand):
            return await self._config.handle(command)
        if isinstance(command, AuditCommand):
            return await answer_about_audit(node, node.vouching, command)
        if isinstance(command, ReachCommand):
            return await answer_about_reach(node, command, self._findings)
        if isinstance(command, GuestCommand):
            return await node.guesting.handle(command)
        if isinstance(command, EdgeCommand):
            return await answer_about_edge(node, node.edge, command)
        match command:
            case m.GetHistory():
                return m.done(data=m.HistoryData(node.remembering.tracks()))
            case m.ListEvents(limit=limit, filter=wanted):
                return m.done(data=m.EventsData(node.recent.newest(limit, wanted)))
            case KeepDesk():
                await asyncio.to_thread(node.state.put, DESK, command)
                return m.done()
            case RecallDesk():
                kept = await asyncio.to_thread(node.state.get, DESK, KeepDesk, KeepDesk(""))
                return m.done(data=DeskData(kept) if kept.pane else None)
            case m.Stop():
                node.request_stop("asked by a console")
                return m.done("The node is stopping.")
        reply = await self._relay.handle(command, report) or await self._files.handle(command, report)
        return reply or await self._team.handle(command)

    def _findings(self, peers: tuple[PeerStatus, ...]) -> Iterator[Finding]:
        """Of netcheck, beside what it finds on the network."""
        yield from self._node.guesting.findings()
        yield from map(as_finding, self._node.look_at_health(peers))
