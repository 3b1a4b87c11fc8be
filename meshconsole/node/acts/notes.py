"""What this node writes for its owner: notes to the team, messages to one device or to a plain client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.control import messages as m
from meshconsole.control.notes import (
    AnswerRoll,
    CallRoll,
    MarkRead,
    NoteCommand,
    SendDirect,
    SendNote,
    SendPlain,
)
from meshconsole.core.errors import Refused
from meshconsole.core.kinds import TEAM_NOTE
from meshconsole.crypto.schnorr import npub_from_bech32
from meshconsole.node.acts.team import team_of
from meshconsole.node.report import node_roll_call
from meshconsole.team.plain import wrap_message
from meshconsole.team.rollcall import ANSWERS, Answer, Ask

if TYPE_CHECKING:
    from meshconsole.core.event import Event
    from meshconsole.core.precedence import PrecedenceName
    from meshconsole.core.status import RollAnswer
    from meshconsole.node.ground import Ground

MAX_READ = 2000
LOOKED_AT = 50
"""Newest events among which the one just sent is."""


class NoteActs:
    def __init__(self, node: Ground) -> None:
        self._node = node

    async def handle(self, command: NoteCommand) -> m.Reply:
        """Raises MeshconsoleError."""
        match command:
            case SendNote(text=text, precedence=precedence):
                return await self._note(text, precedence)
            case MarkRead(event_id=event_id):
                return self._read(event_id)
            case SendDirect(npub=npub, text=text):
                return await self._direct(npub, text)
            case SendPlain(npub=npub, text=text):
                return await self._plain(npub, text)
            case CallRoll(text=text):
                return await self._call_roll(text)
            case AnswerRoll(word=word):
                return await self._answer_roll(word)

    async def _note(self, text: str, precedence: PrecedenceName) -> m.Reply:
        if not text.strip():
            raise Refused("invalid", "The note is empty.")
        event = team_of(self._node).seal_note(text, self._node.clock.stamp(), precedence)
        done = "Sent as flash; who has it: meshconsole receipts" if precedence == "flash" else "Sent."
        reply = await self._publish(event, done)
        if reply.verdict.accepted and self._node.mesh is not None:
            self._node.mesh.flashing.sent(event)
        return reply

    def _read(self, event_id: str) -> m.Reply:
        """Somebody has read a note here: its author is told."""
        view = next((view for view in self._node.recent.newest(MAX_READ) if view.id == event_id), None)
        if view is None or view.kind != TEAM_NOTE:
            raise Refused("invalid", "There is no such note among the newest here.")
        if view.npub == self._node.identity.npub:
            raise Refused("invalid", "That note is this device's own.")
        if self._node.mesh is not None:
            self._node.mesh.flashing.acknowledge(bytes.fromhex(event_id), "read")
        self._node.unread.read(event_id)
        self._node.control.status_changed()
        return m.done("Its author is told that it was read.")

    async def _call_roll(self, text: str) -> m.Reply:
        event = team_of(self._node).seal_roll(Ask(text.strip()), self._node.clock.stamp())
        reply = await self._publish(event, "The roll is called. Who has answered: meshconsole rollcall")
        if reply.verdict.accepted and self._node.mesh is not None:
            self._node.mesh.flashing.sent(event)
        self._node.control.status_changed()
        return reply

    async def _answer_roll(self, word: RollAnswer) -> m.Reply:
        team, call = team_of(self._node), node_roll_call(self._node)
        if call is None:
            raise Refused("invalid", "Nobody has called the roll.")
        if call.npub == self._node.identity.npub:
            raise Refused("invalid", "The newest roll call is this device's own; the others answer it.")
        event = team.seal_roll(Answer(call.id, word), self._node.clock.stamp())
        reply = await self._publish(event, f"Answered: {ANSWERS[word]}.")
        if reply.verdict.accepted and self._node.mesh is not None:
            self._node.mesh.flashing.sent(event)
        self._node.control.status_changed()
        return reply

    async def _direct(self, npub: str, text: str) -> m.Reply:
        event = team_of(self._node).seal_direct(npub, text, self._node.clock.stamp())
        return await self._publish(event, "Sent.")

    async def _plain(self, npub: str, text: str) -> m.Reply:
        team, to = self._node.membership.team, npub_from_bech32(npub)
        if team is None:
            sent, copy = wrap_message(self._node.identity, to, text, self._node.clock.stamp())
        else:
            sent, copy = team.wrap_plain(to, text, self._node.clock.stamp())
        verdict = await self._node.publish(sent)
        if not verdict.accepted:
            return m.Reply(verdict)
        return await self._publish(copy, "Sent. It is not post-quantum.")

    async def _publish(self, event: Event, done: str) -> m.Reply:
        verdict = await self._node.publish(event)
        if not verdict.accepted:
            return m.Reply(verdict)
        sent = [view for view in self._node.recent.newest(LOOKED_AT) if view.id == event.id]
        return m.done(done, m.EventsData(tuple(sent)))
