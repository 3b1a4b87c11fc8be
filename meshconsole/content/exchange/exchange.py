"""Blocks to and from peers: the shell around `wants` and `serving`.

What arrives is hashed in a thread, and written while the next message is read, a few at a time; what goes
out is sent by a task for each peer (`sending.py`).
What came for a peer that wants it through us (`passing`) is handed on from memory, and kept here as well
where that needs no room made.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from meshconsole.content.exchange.bitswap import decode_message
from meshconsole.content.exchange.passing import Passing
from meshconsole.content.exchange.sending import LinkedPeer, Sending
from meshconsole.content.exchange.transit import Transit
from meshconsole.content.exchange.wants import Wants
from meshconsole.content.formats.block import Block
from meshconsole.content.happenings import PeerMisbehaved
from meshconsole.content.walk import links_of
from meshconsole.core.errors import MeshconsoleError, RemoteError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable

    from meshconsole.content.exchange.bitswap import Payload
    from meshconsole.content.formats.cid import Cid
    from meshconsole.content.store.store import Store
    from meshconsole.content.tasks import Tasks

log = logging.getLogger(__name__)

WRITES_AT_ONCE = 4
"""Blocks received and not yet on the disk, from all peers together."""

BURST_BYTES = 2 << 20
"""A peer that was silent is sent so much at once, whatever its rate."""

COMMIT_S = 1.0
"""Blocks that were kept on their way through count after so long."""

SMALL_MESSAGE_BYTES = 64 << 10
"""Larger ones are encoded and decoded in a thread."""


class Exchange:
    def __init__(
        self,
        store: Store,
        tasks: Tasks,
        emit: Callable[[object], None],
        now: Callable[[], float],
        peer_rate_bps: float = 0.0,
    ) -> None:
        """`now` is monotonic, in seconds. Each peer is sent blocks at most at this rate; 0 is no limit."""
        self._store = store
        self._tasks = tasks
        self._emit = emit
        self._now = now
        self._peer_rate_bps = peer_rate_bps
        self._peers: dict[str, LinkedPeer] = {}
        self._transit = Transit()
        self._wants = Wants(in_hand=self._transit.waiting)
        self.passing = Passing(self._wants)
        self._will_commit = False
        self._timer = asyncio.Event()
        self.sending = Sending(store, self._transit, now, sent=self._had, broken=self._broken)
        self._writing = 0
        self._written = asyncio.Event()
        self.on_block: Callable[[Block], Awaitable[bool]] = _drop
        """Called with each block that was wanted and came; returns whether this node wanted it."""

    def start(self) -> None:
        self._tasks.spawn("content timers", self._keep_time())

    # Peers

    def attach(
        self,
        name: str,
        send: Callable[[bytes], Awaitable[None]],
        may_read: Callable[[str], bool],
        passes_on: Callable[[], bool] | None = None,
        may_hear: Callable[[bytes], bool] | None = None,
    ) -> None:
        """A peer that is attached already starts anew. With `passes_on` it is one of those among which wants
        are passed on, as long as that returns True; with `may_hear` it is told of those groups alone."""
        self.detach(name)
        peer = self._peers[name] = LinkedPeer(name, send, may_read, passes_on or _never)
        self.passing.attach(name)
        peer.bucket.set_rate(self._peer_rate_bps, BURST_BYTES)
        peer.sender = self._tasks.spawn(f"content to {name[:8]}", self.sending.keep(peer))
        self._wants.attach(name, self._now(), passes=passes_on is not None, may_hear=may_hear)
        self._flush()

    def detach(self, name: str) -> None:
        """What it owes is asked of others."""
        peer = self._peers.pop(name, None)
        if peer is None:
            return
        if peer.sender is not None and peer.sender is not asyncio.current_task():
            peer.sender.cancel()
        self._transit.drop(name)
        self.passing.detach(name)
        self._wants.detach(name, self._now())
        self._flush()

    def _broken(self, peer: LinkedPeer) -> None:
        """The mesh says so too, and attaches the peer again over another link."""
        if self._peers.get(peer.name) is peer:
            self.detach(peer.name)

    async def receive(self, name: str, data: bytes) -> None:
        """A message of the peer. Returns when the next one may come.

        Raises RemoteError if the peer broke the protocol: its link should be closed.
        """
        peer = self._peers.get(name)
        if peer is None:
            return
        try:
            await self._receive(peer, data)
        except RemoteError as error:
            self._emit(PeerMisbehaved(name, error.code, error.sentence))
            raise
        finally:
            self._flush()

    def limit_peers(self, rate_bps: float) -> None:
        self._peer_rate_bps = rate_bps
        for peer in self._peers.values():
            peer.bucket.set_rate(rate_bps, BURST_BYTES)

    # Wants

    def want(self, cids: Iterable[Cid], group: bytes) -> None:
        self._wants.want(cids, group, self._now())
        self._flush()

    def close_group(self, group: bytes) -> None:
        self._wants.close_group(group, self._now())
        self._flush()

    def providers(self, group: bytes) -> int:
        return self._wants.providers(group)

    def is_owed(self, group: bytes) -> bool:
        return self._wants.is_owed(group)

    def stored(self, multihashes: Collection[bytes]) -> None:
        """Blocks are here from now on: nobody needs to be asked, and peers may wait for them."""
        for multihash in multihashes:
            self.passing.came(multihash)
        self._wants.close(multihashes, self._now())
        self._offer(multihashes)
        self._flush()

    def stocked(self, name: str, ids: frozenset[bytes]) -> None:
        """Ids of blocks that the peer has and this node lacked."""
        self._wants.stocked(name, ids, self._now())
        self._flush()

    # Parts

    async def _receive(self, peer: LinkedPeer, data: bytes) -> None:
        if len(data) > SMALL_MESSAGE_BYTES:
            message = await self._store.threads.on_file(decode_message, data)
        else:
            message = decode_message(data)
        if message.payload:
            await self._receive_blocks(peer, message.payload)
        self._wants.presences(peer.name, message.haves, message.dont_haves, self._now(), message.afar)
        peer.serving.receive(message)
        self.passing.receive(peer.name, message, self._now())
        self._had(peer, None if message.full else [cid.multihash for cid in message.cancels])
        if lookups := peer.serving.lookups():
            await self._answer(peer, lookups)

    async def _receive_blocks(self, peer: LinkedPeer, payload: tuple[Payload, ...]) -> None:
        self._wants.expect_blocks(peer.name, len(payload))
        blocks = await self._store.threads.on_file(_hash, payload)
        if self._peers.get(peer.name) is not peer:
            return
        accepted = self._wants.blocks(peer.name, blocks, self._now())
        # Nobody is asked for these again: from here on a cancellation must not lose them.
        for block in accepted:
            is_passed = self._hand_on(block)
            self._writing += 1
            self._tasks.spawn("content write", self._write(block, is_passed=is_passed))
        self._flush()
        while self._writing > WRITES_AT_ONCE:
            self._written.clear()
            await self._written.wait()

    async def _write(self, block: Block, *, is_passed: bool) -> None:
        try:
            if not await self.on_block(block) and is_passed:
                await self._keep(block)
        finally:
            self._writing -= 1
            self._written.set()

    def _hand_on(self, block: Block) -> bool:
        """To those that wanted it through us. False if nobody did."""
        multihash = block.cid.multihash
        if not self.passing.came(multihash):
            return False
        waiting = [
            peer
            for peer in self._peers.values()
            if any(want.block for want in peer.serving.standing([block.cid]))
            and peer.may_read(str(block.cid))
        ]
        # One that does not take what it has asked for must not fill the memory with what others fetch.
        slow = [peer for peer in waiting if not self._transit.has_room(peer.name)]
        for peer in slow:
            peer.later[multihash] = block.cid
        self._transit.put(multihash, block.data, [peer.name for peer in waiting if peer not in slow])
        self._offer([multihash], slow)
        return True

    def _had(self, peer: LinkedPeer, multihashes: list[bytes] | None) -> None:
        """The peer was sent these, or does not want them any more (without a list, any): there is room."""
        for multihash in list(peer.later) if multihashes is None else multihashes:
            peer.later.pop(multihash, None)
        if not self._transit.drop(peer.name, multihashes):
            return
        later = tuple(want.cid for want in peer.serving.standing(peer.later.values()))
        peer.later.clear()
        if later:
            self._tasks.spawn("content answer", self._answer(peer, later))
        self._wants.assign(self._now())
        self._flush()

    async def _keep(self, block: Block) -> None:
        """Who asks for it next has it sooner. For this nothing else is removed."""
        if not self._store.room.is_there_for(len(block.data)):
            return
        try:
            links = await self._store.threads.on_file(links_of, block.cid, block.data)
            await self._store.write_block(block, [link.cid for link in links])
        except MeshconsoleError as error:
            log.info("not kept on its way through: %s", error.sentence)
            return
        if not self._will_commit:
            self._will_commit = True
            self._tasks.spawn("content commit", self._commit_soon())

    async def _commit_soon(self) -> None:
        await asyncio.sleep(COMMIT_S)
        self._will_commit = False
        await self._store.commit()

    def _offer(self, multihashes: Collection[bytes], but: Collection[LinkedPeer] = ()) -> None:
        """Blocks have come: peers may wait for them."""
        for peer in self._peers.values():
            waiting = peer.serving.wanted(multihashes) if peer not in but else ()
            if waiting:
                self._tasks.spawn("content answer", self._answer(peer, waiting))

    async def _answer(self, peer: LinkedPeer, cids: tuple[Cid, ...]) -> None:
        readable = [cid for cid in cids if peer.may_read(str(cid))]
        sizes = await self._store.sizes(readable)
        if self._peers.get(peer.name) is not peer:
            return
        for cid in cids:
            peer.later.pop(cid.multihash, None)
        sizes |= self._in_hand(peer, [cid for cid in readable if cid.multihash not in sizes])
        cids = tuple(cid for cid in cids if cid.multihash not in peer.later)
        absent = [cid for cid in readable if cid.multihash not in sizes and cid.multihash not in peer.later]
        wants = peer.serving.standing(absent) if absent and peer.passes_on() else []
        peer.serving.found(cids, sizes, self.passing.ask(peer.name, wants, self._now()) if wants else {})
        if peer.serving.has_order:
            peer.wake.set()
        if wants:
            self._flush()

    def _in_hand(self, peer: LinkedPeer, cids: list[Cid]) -> dict[bytes, int]:
        """Sizes of those that are on their way to others, and from now on to this peer, if it has room."""
        sizes: dict[bytes, int] = {}
        for want in peer.serving.standing(cids):
            multihash = want.cid.multihash
            data = self._transit.get(multihash)
            if data is None:
                continue
            if not want.block or self._transit.is_for(multihash, peer.name):
                sizes[multihash] = len(data)
            elif self._transit.has_room(peer.name):
                self._transit.put(multihash, data, [peer.name])
                sizes[multihash] = len(data)
            else:
                peer.later[multihash] = want.cid
        return sizes

    def _flush(self) -> None:
        """Passes on what the machines have to say."""
        for news in self.passing.news():
            peer = self._peers[news.asker]
            peer.serving.in_reach(news.cid, news.hops)
            peer.wake.set()
        for name, message in self._wants.outbox():
            peer = self._peers[name]
            peer.messages.append(message)
            peer.wake.set()
        for given_up in self._wants.happened():
            sentence = f"The peer owed {given_up.owed} blocks and sent nothing for {given_up.silent_s:.0f} s."
            self._emit(PeerMisbehaved(given_up.peer, "stalled", sentence))
        self._timer.set()

    async def _keep_time(self) -> None:
        while True:
            self._timer.clear()
            due = self._wants.next_timer()
            try:
                async with asyncio.timeout(None if due is None else max(0.0, due - self._now())):
                    await self._timer.wait()
            except TimeoutError:
                self._wants.handle_timer(self._now())
                self._flush()


def _hash(payload: tuple[Payload, ...]) -> list[Block]:
    return [Block.received(each.prefix, each.data) for each in payload]


async def _drop(_: Block) -> bool:
    return False


def _never() -> bool:
    return False
