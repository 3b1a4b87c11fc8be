"""Who holds which blocks, found by comparing (negentropy, as for events): so a fetch asks the holder at once.

Of each pair the device with the lesser key asks. In the end it knows which blocks the other has and it lacks,
and tells the other which ones that one lacks. What is learned is a hint: a block that is not there after all
is answered DONT_HAVE like any other. Laws:

1. One message is under way at a time, one comparison in MIN_EVERY_S, MAX_ROUNDS messages in one: who asks for
   more is told that this side cannot, and who sends twice breaks the protocol.
2. Nobody makes this side remember more than MAX_LEARNED blocks.
3. It goes as bulk: it delays nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from meshconsole.core.errors import RemoteError
from meshconsole.mesh.messages import STOCK_IDS, Stock, Stocked
from meshconsole.relay.items import ID_BYTES, ItemVector
from meshconsole.relay.negentropy import Initiator, Responder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection
    from random import Random

FIRST_S = 5.0
EVERY_S = 600.0
MIN_EVERY_S = 60.0
ANSWER_S = 60.0
MAX_ROUNDS = 64
MAX_LEARNED = 20_000
_JITTER = 0.25


class Stocktaking:
    """With one peer. `stock` gives the ids of this side's blocks, None if there is nothing to say; `learned`
    is told the ids of blocks that the peer has and this side lacks, `broken` why it cannot be dealt with."""

    def __init__(
        self,
        *,
        asks: bool,
        stock: Callable[[], Awaitable[Collection[bytes] | None]],
        post: Callable[[Stock | Stocked], bool],
        learned: Callable[[frozenset[bytes]], None],
        broken: Callable[[str], None],
        now: Callable[[], float],
        random: Random,
    ) -> None:
        self._asks = asks
        self._stock = stock
        self._post = post
        self._learned = learned
        self._broken = broken
        self._now = now
        self._random = random
        self._number = 0
        self._answer: asyncio.Future[bytes] | None = None
        self._asked: asyncio.Queue[Stock] = asyncio.Queue(1)
        self._responder: Responder | None = None
        self._responding = 0
        self._rounds = 0
        self._begun_at = -MIN_EVERY_S
        self._told: set[bytes] = set()
        self.spent_bytes = 0
        """Of both sides, so far."""

    def receive(self, message: Stock | Stocked) -> None:
        """Raises RemoteError if the peer breaks a rule."""
        self.spent_bytes += len(message.data)
        if isinstance(message, Stocked):
            if message.number == self._number and self._answer is not None and not self._answer.done():
                self._answer.set_result(message.data)
            return
        if len(message.ids) % ID_BYTES or self._asked.full():
            raise RemoteError("bad-stock", "The peer asks on without waiting, or names no ids.")
        if message.ids:
            self._hear(message)
        else:
            self._asked.put_nowait(message)

    async def compare(self) -> bool:
        """False if it came to no end."""
        mine = await self._stock()
        if mine is None:
            return False
        self._number += 1
        initiator = Initiator(await asyncio.to_thread(_items, mine), max_need=MAX_LEARNED)
        message: bytes | None = await asyncio.to_thread(initiator.begin)
        have: list[bytes] = []
        need: list[bytes] = []
        for _ in range(MAX_ROUNDS):
            answer = await self._ask(message or b"")
            if not answer:
                return False
            try:
                step = await asyncio.to_thread(initiator.receive, answer)
            except RemoteError as error:
                if error.code != "too-many":
                    raise
                # It has far more than this side: what is known by now is enough to go on with.
                self._learned(frozenset(need))
                return False
            have += step.have
            need += step.need
            message = step.reply
            if message is None:
                self._learned(frozenset(need))
                return await self._tell(have[:MAX_LEARNED])
        return False

    # The asking half

    async def keep_asking(self) -> None:
        if not self._asks:
            return
        await asyncio.sleep(FIRST_S)
        while True:
            try:
                await self.compare()
            except RemoteError as error:
                self._broken(error.sentence)
            await asyncio.sleep(EVERY_S * (1 + _JITTER * (2 * self._random.random() - 1)))

    async def _ask(self, data: bytes) -> bytes:
        """The answer; b"" if there is none."""
        self._answer = asyncio.get_running_loop().create_future()
        self.spent_bytes += len(data)
        if not self._post(Stock(self._number, data)):
            return b""
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._answer
        except TimeoutError:
            return b""

    async def _tell(self, have: list[bytes]) -> bool:
        """The peer what it lacks; an empty list too, so that it knows."""
        for start in range(0, len(have), STOCK_IDS):
            ids = b"".join(have[start : start + STOCK_IDS])
            self.spent_bytes += len(ids)
            is_last = start + STOCK_IDS >= len(have)
            if not self._post(Stock(self._number, b"", ids, is_last)):
                return False
        return True

    # The answering half

    def _hear(self, message: Stock) -> None:
        """The asking side has told what this one lacks."""
        if message.number != self._responding:
            return
        self.spent_bytes += len(message.ids)
        places = range(0, len(message.ids), ID_BYTES)
        self._told.update(message.ids[place : place + ID_BYTES] for place in places)
        if len(self._told) > MAX_LEARNED:
            raise RemoteError("bad-stock", f"The peer names more than {MAX_LEARNED} blocks.")
        if message.is_last:
            self._learned(frozenset(self._told))
            self._told = set()

    async def keep_answering(self) -> None:
        """Never returns."""
        while True:
            message = await self._asked.get()
            try:
                answer = await self._respond(message)
            except RemoteError as error:
                self._broken(error.sentence)
                continue
            self.spent_bytes += len(answer)
            self._post(Stocked(message.number, answer))

    async def _respond(self, message: Stock) -> bytes:
        """b"" if this side cannot, or does not want to so soon."""
        if message.number != self._responding:
            now = self._now()
            if now - self._begun_at < MIN_EVERY_S:
                return b""
            mine = await self._stock()
            if mine is None:
                return b""
            self._begun_at, self._responding, self._rounds = now, message.number, 0
            self._told = set()
            self._responder = Responder(await asyncio.to_thread(_items, mine))
        self._rounds += 1
        if self._responder is None or self._rounds > MAX_ROUNDS:
            return b""
        return await asyncio.to_thread(self._responder.receive, message.data)


def _items(ids: Collection[bytes]) -> ItemVector:
    """All at the same time: the same block came to each device at another."""
    return ItemVector([(0, item_id) for item_id in sorted(set(ids))])
