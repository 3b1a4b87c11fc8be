"""What a console may ask about the HTTP edge: tokens, pins, and how much it is used."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING

from meshconsole.control import edge as e
from meshconsole.control import messages as m
from meshconsole.core.errors import Refused, Unavailable
from meshconsole.core.status import EdgePin, EdgeToken
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from meshconsole.node.edge_room import EdgeRoom
    from meshconsole.node.ground import Ground


async def answer_about_edge(node: Ground, room: EdgeRoom | None, command: e.EdgeCommand) -> m.Reply:
    """Raises MeshconsoleError."""
    if room is None:
        if isinstance(command, e.ShowEdge):
            return m.done(data=e.EdgeData(None))
        raise Unavailable(
            "The HTTP edge of this node is off.",
            hint="meshconsole config set edge.listen=127.0.0.1:7480, and start the node again.",
        )
    match command:
        case e.ShowEdge():
            return m.done(data=await asyncio.to_thread(_shown, room))
        case e.MakeToken(name=name):
            token = await asyncio.to_thread(room.tokens.make, name, time.time())
            node.record("edge-token-made", name=name)
            return m.done(data=e.TokenData(token))
        case e.RevokeToken(name=name, unpin=unpin):
            return await _revoke(node, room, name, unpin=unpin)
        case e.ListPins():
            return m.done(data=e.PinsData(await asyncio.to_thread(_pins, room)))


async def _revoke(node: Ground, room: EdgeRoom, name: str, *, unpin: bool) -> m.Reply:
    if not await asyncio.to_thread(room.tokens.revoke, name):
        raise Refused(
            "invalid", f"There is no token {safe(name, 64)}.", hint="See which there are: meshconsole edge"
        )
    node.record("edge-token-revoked", name=name)
    if unpin:
        count = await room.pinning.revoke(name)
        return m.done(f"Nobody may use it any more, and {count} pins are lifted.")
    return m.done("Nobody may use it any more. What it has pinned stays pinned.")


def _shown(room: EdgeRoom) -> e.EdgeData:
    pins = Counter(request.owner for request in room.pins.all())
    tokens = tuple(
        EdgeToken(token.name, token.made, token.used, pins.get(token.name, 0)) for token in room.tokens.all()
    )
    blobs, size = room.book.counts()
    return e.EdgeData(room.status(), tokens, blobs, size)


def _pins(room: EdgeRoom) -> tuple[EdgePin, ...]:
    found: list[EdgePin] = []
    for request in room.pins.all():
        status, error = room.pinning.status_of(request.cid, request.owner)
        made = request.made / 1e6
        found.append(EdgePin(request.id, request.owner, request.cid, request.name, status, error, made))
    return tuple(found)
