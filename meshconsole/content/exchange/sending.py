"""Messages and blocks to peers, as their links take them; a block is loaded when its turn comes."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from meshconsole.content.exchange.bitswap import Message, Payload, encode_message
from meshconsole.content.exchange.serving import Serving
from meshconsole.core.errors import MeshconsoleError
from meshconsole.core.limits import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from meshconsole.content.exchange.serving import Order
    from meshconsole.content.exchange.transit import Transit
    from meshconsole.content.formats.cid import Cid
    from meshconsole.content.store.store import Store

log = logging.getLogger(__name__)

SENDS_AT_ONCE = 8
"""Peers whose blocks are in memory, on their way into a link."""


class LinkedPeer(msgspec.Struct, eq=False):
    name: str
    send: Callable[[bytes], Awaitable[None]]
    may_read: Callable[[str], bool]
    passes_on: Callable[[], bool]
    """Whether what it asks for is asked of others, too."""
    serving: Serving = msgspec.field(default_factory=Serving)
    messages: deque[Message] = msgspec.field(default_factory=deque)
    wake: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    sender: asyncio.Task[None] | None = None
    bucket: TokenBucket = msgspec.field(default_factory=lambda: TokenBucket(0.0, 0.0))
    """What it may be sent of blocks, so that no peer takes it all."""
    later: dict[bytes, Cid] = msgspec.field(default_factory=dict)
    """What it wants through us and passed by while it had no room: looked up again when it has."""


class Sending:
    def __init__(
        self,
        store: Store,
        transit: Transit,
        now: Callable[[], float],
        *,
        sent: Callable[[LinkedPeer, list[bytes]], None],
        broken: Callable[[LinkedPeer], None],
    ) -> None:
        """`sent` is told multihashes of blocks that have gone to a peer, `broken` that its link is gone."""
        self._store = store
        self._transit = transit
        self._now = now
        self._sent = sent
        self._broken = broken
        self._turns = asyncio.Semaphore(SENDS_AT_ONCE)
        self.handed_on = 0
        self.handed_on_bytes = 0
        """Blocks of others that were sent from memory, on their way through here."""

    async def keep(self, peer: LinkedPeer) -> None:
        """Until it is cancelled, or the link is gone."""
        while True:
            await peer.wake.wait()
            peer.wake.clear()
            try:
                while await self._send_next(peer):
                    pass
            except (MeshconsoleError, OSError):
                self._broken(peer)
                return

    async def _send_next(self, peer: LinkedPeer) -> bool:
        """False if there is nothing to send."""
        if peer.messages:
            await peer.send(encode_message(peer.messages.popleft()))
            return True
        if not peer.serving.has_order:
            return False
        if (delay := peer.bucket.delay(self._now())) > 0:
            await asyncio.sleep(delay)
        async with self._turns:
            order = peer.serving.next_order()
            if order is not None:
                message = await self._load(peer, order)
                peer.bucket.take(len(message), self._now())
                await peer.send(message)
                self._sent(peer, [cid.multihash for cid in order.blocks])
        return True

    async def _load(self, peer: LinkedPeer, order: Order) -> bytes:
        payload: list[Payload] = []
        for cid in order.blocks:
            data = self._transit.get(cid.multihash)
            if not peer.may_read(str(cid)):
                # It might when it asked; the owner has thought better of it since.
                peer.serving.missing(cid)
                continue
            if data is not None:
                self.handed_on += 1
                self.handed_on_bytes += len(data)
                payload.append(Payload(cid.prefix, data))
                continue
            try:
                data = await self._store.read(cid)
            except MeshconsoleError as error:
                # An altered block has been reported and is fetched again; another fault of the disk must
                # not keep the peer from the other blocks.
                log.warning("cannot send %s: %s", cid, error.sentence)
                data = None
            if data is None or not peer.may_read(str(cid)):
                peer.serving.missing(cid)
            else:
                payload.append(Payload(cid.prefix, data))
        haves: list[Cid] = []
        dont_haves = list(order.dont_haves)
        for cid in order.haves:
            (haves if peer.may_read(str(cid)) else dont_haves).append(cid)
        message = Message(
            payload=tuple(payload), haves=tuple(haves), dont_haves=tuple(dont_haves), afar=order.afar
        )
        if payload:
            return await self._store.threads.on_file(encode_message, message)
        return encode_message(message)
