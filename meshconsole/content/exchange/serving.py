"""What one peer wants from us, and what it is sent next. Pure.

Laws:
1. A want stands until it is cancelled, replaced by a full wantlist, or its block was handed to the link:
   a block that comes here later is offered then.
2. Blocks are named here and loaded by the shell, one order at a time, when the link can take more.
   A peer that asks for a thousand blocks costs a thousand names, not a thousand blocks.
3. Everything is bounded. Over the bound the answer is "don't have", not a disconnect.
4. A block that is not here may be in reach through others (`passing.py`): then the peer is told so, and what
   it asks for stands until the block has come, or is out of reach again.

Wants are known by multihash: the bytes are the same whatever the codec in the CID.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from meshconsole.content.exchange.bitswap import Message, Want
from meshconsole.core.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from meshconsole.content.formats.cid import Cid

MAX_WANTS = 4096
MAX_ANSWERS = 2 * 4096
"""Presences not yet sent. A peer that asks on without reading the answers is cut off there."""

ORDER_BYTES = 1 << 20
"""Blocks are sent together up to this size; a larger one goes alone."""

ORDER_PRESENCES = 1024


class Order(msgspec.Struct, frozen=True):
    """What the next message to the peer holds: blocks to load, and presences."""

    blocks: tuple[Cid, ...]
    haves: tuple[Cid, ...]
    dont_haves: tuple[Cid, ...]
    afar: tuple[tuple[Cid, int], ...] = ()


class Serving(msgspec.Struct):
    _wants: dict[bytes, Want] = msgspec.field(default_factory=dict)
    _to_look_up: dict[bytes, Cid] = msgspec.field(default_factory=dict)
    _to_send: dict[bytes, tuple[Cid, int]] = msgspec.field(default_factory=dict)
    _haves: dict[Cid, None] = msgspec.field(default_factory=dict)
    _dont_haves: dict[Cid, None] = msgspec.field(default_factory=dict)
    _afar: dict[Cid, int] = msgspec.field(default_factory=dict)
    sent_blocks: int = 0
    sent_bytes: int = 0

    def receive(self, message: Message) -> None:
        """Takes over the peer's wants. Raises RemoteError("flood")."""
        if message.full:
            self._wants.clear()
            self._to_look_up.clear()
            self._to_send.clear()
        for cid in message.cancels:
            self._drop(cid.multihash)
        for want in message.wants:
            self._take(want)
        if len(self._haves) + len(self._dont_haves) + len(self._afar) > MAX_ANSWERS:
            raise RemoteError("flood", "The peer asks on without reading the answers.")

    def lookups(self) -> tuple[Cid, ...]:
        """The blocks that must be looked up now; answer with `found`."""
        cids = tuple(self._to_look_up.values())
        self._to_look_up.clear()
        return cids

    def standing(self, cids: Iterable[Cid]) -> list[Want]:
        """Of the CIDs looked up, what is still wanted of them."""
        return [self._wants[cid.multihash] for cid in cids if cid.multihash in self._wants]

    def found(
        self, cids: Collection[Cid], sizes: Mapping[bytes, int], reach: Mapping[bytes, int] | None = None
    ) -> None:
        """Of the CIDs looked up, the sizes of those that are here and that the peer may read. `reach`: of
        others, through how many devices they can be had."""
        for cid in cids:
            multihash = cid.multihash
            want = self._wants.get(multihash)
            if want is None:
                continue
            size = sizes.get(multihash)
            hops = reach.get(multihash) if reach else None
            if size is not None:
                self._satisfy(multihash, want, size)
            elif hops is None:
                self._say_dont_have(want)
            elif not want.block:
                del self._wants[multihash]
                self.in_reach(want.cid, hops)

    def in_reach(self, cid: Cid, hops: int | None) -> None:
        """The block can be had through others; None: it cannot any more."""
        if hops is None:
            self._afar.pop(cid, None)
            self._dont_haves[cid] = None
        else:
            self._dont_haves.pop(cid, None)
            self._afar[cid] = hops

    def wanted(self, multihashes: Collection[bytes]) -> tuple[Cid, ...]:
        """Of some blocks that have just come here, those the peer waits for; go on with `found`."""
        waiting = (
            self._wants[each] for each in multihashes if each in self._wants and each not in self._to_send
        )
        return tuple(want.cid for want in waiting)

    def next_order(self) -> Order | None:
        """What to send now; None if there is nothing. Its blocks count as sent, but for those `missing`."""
        blocks: list[Cid] = []
        total = 0
        for multihash, (cid, size) in self._to_send.items():
            if blocks and total + size > ORDER_BYTES:
                break
            blocks.append(cid)
            total += size
            self.sent_bytes += size
            self._wants.pop(multihash, None)
        for cid in blocks:
            del self._to_send[cid.multihash]
        self.sent_blocks += len(blocks)
        haves = _first(self._haves, ORDER_PRESENCES)
        dont_haves = _first(self._dont_haves, ORDER_PRESENCES)
        afar = tuple((cid, self._afar.pop(cid)) for cid in list(islice(self._afar, ORDER_PRESENCES)))
        if not (blocks or haves or dont_haves or afar):
            return None
        return Order(tuple(blocks), haves, dont_haves, afar)

    def missing(self, cid: Cid) -> None:
        """A block of the last order turned out not to be here any more: the want stands."""
        want = Want(cid, block=True)
        self._wants[cid.multihash] = want
        self._say_dont_have(want)

    @property
    def has_order(self) -> bool:
        return bool(self._to_send or self._haves or self._dont_haves or self._afar)

    def _take(self, want: Want) -> None:
        multihash = want.cid.multihash
        if multihash not in self._wants and len(self._wants) >= MAX_WANTS:
            self._say_dont_have(want)
            return
        if multihash in self._to_send and not want.block:
            return  # it gets more than it asks for now
        self._wants[multihash] = want
        self._to_look_up[multihash] = want.cid

    def _satisfy(self, multihash: bytes, want: Want, size: int) -> None:
        self._dont_haves.pop(want.cid, None)
        self._afar.pop(want.cid, None)
        if want.block:
            self._to_send[multihash] = (want.cid, size)
        else:
            # The want is answered; the peer asks for the block if it wants it from us.
            del self._wants[multihash]
            self._haves[want.cid] = None

    def _say_dont_have(self, want: Want) -> None:
        if want.send_dont_have:
            self._dont_haves[want.cid] = None

    def _drop(self, multihash: bytes) -> None:
        self._wants.pop(multihash, None)
        self._to_look_up.pop(multihash, None)
        self._to_send.pop(multihash, None)


def _first(cids: dict[Cid, None], count: int) -> tuple[Cid, ...]:
    taken = tuple(cid for cid, _ in zip(cids, range(count), strict=False))
    for cid in taken:
        del cids[cid]
    return taken
