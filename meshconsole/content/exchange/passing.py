"""Wants of peers that are passed on: a block that is not here is asked of the other links. Pure; `now` is in
seconds.

Theory of operation. A peer asks for a block that is not here. It is told DONT_HAVE, and the want is asked of
those other peers that pass wants on (`wants.py`). As soon as one of them says that it can give the block, the
peer is told that it is in reach, and through how many devices; when the peer then asks for the block itself,
it is fetched and handed on. So a block goes hop by hop along the way on which the answer came, and only where
somebody asked for it.

Laws:
1. A want that is open already is not passed on again, whoever asks: a cycle of nodes carries each once.
2. A peer has DIRECT_PER_S wants that go to who is likely to have it, FLOODS_PER_S that go to everybody, and
   MAX_PASSED at a time. What is over it is answered DONT_HAVE, as if nothing was passed on.
3. What was said of a block is said anew when it changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from meshconsole.content.exchange.asking import MAX_HOPS
from meshconsole.core.limits import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from meshconsole.content.exchange.bitswap import Message, Want
    from meshconsole.content.exchange.wants import Wants
    from meshconsole.content.formats.cid import Cid

MAX_PASSED = 128
"""Wants of one peer; a fetch waits for 64 blocks at a time."""

MAX_PASSED_IN_ALL = 1024

DIRECT_PER_S = 500.0
FLOODS_PER_S = 20.0
FLOODS_AT_ONCE = 200.0


class Reach(msgspec.Struct, frozen=True):
    """News for `asker`: through how many devices it can have the block; None if it cannot."""

    asker: str
    cid: Cid
    hops: int | None


class _Asker(msgspec.Struct):
    said: dict[bytes, tuple[Cid, int | None]] = msgspec.field(default_factory=dict)
    """What it was told last of each want, by multihash."""
    direct: TokenBucket = msgspec.field(default_factory=lambda: TokenBucket(DIRECT_PER_S, 2 * DIRECT_PER_S))
    floods: TokenBucket = msgspec.field(default_factory=lambda: TokenBucket(FLOODS_PER_S, FLOODS_AT_ONCE))


def _nobody(_: Cid) -> Collection[str]:
    return ()


class Passing(msgspec.Struct):
    """`towards` names peers that hold a root, or are linked to who does."""

    wants: Wants
    towards: Callable[[Cid], Collection[str]] = _nobody
    passed: int = 0
    """Wants that were passed on so far."""
    _askers: dict[str, _Asker] = msgspec.field(default_factory=dict)

    def attach(self, peer: str) -> None:
        self._askers[peer] = _Asker()

    def detach(self, peer: str) -> None:
        """`wants` forgets it by itself."""
        self._askers.pop(peer, None)

    def receive(self, peer: str, message: Message, now: float) -> None:
        """What the peer does not want any more."""
        asker = self._askers.get(peer)
        if asker is None:
            return
        gone = [cid.multihash for cid in message.cancels]
        if message.full:
            gone = list(asker.said)
        for multihash in gone:
            asker.said.pop(multihash, None)
        if gone:
            self.wants.drop(peer, gone, now)

    def ask(self, peer: str, wants: Collection[Want], now: float) -> dict[bytes, int]:
        """What the peer wants that is not here. Returns through how many devices each can be had that is in
        reach already; of the others `news` may tell later."""
        asker = self._askers.get(peer)
        if asker is None:
            return {}
        for want in wants:
            multihash = want.cid.multihash
            if want.hops >= MAX_HOPS or not self._may_pass(peer, asker, want, now):
                if asker.said.pop(multihash, None):
                    self.wants.drop(peer, [multihash], now)
                continue
            self.wants.pass_on(want, peer, now, self.towards(want.cid))
            asker.said[multihash] = (want.cid, self.wants.reach(multihash, peer))
        self.wants.assign(now)
        asked = (want.cid.multihash for want in wants)
        said = ((each, asker.said[each][1]) for each in asked if each in asker.said)
        return {multihash: hops for multihash, hops in said if hops is not None}

    def came(self, multihash: bytes) -> bool:
        """The block is here. Whether it came for a peer."""
        waited = [asker.said.pop(multihash, None) for asker in self._askers.values()]
        return any(waited)

    def news(self) -> list[Reach]:
        """What must be said to those who asked."""
        news: list[Reach] = []
        touched = self.wants.touched()
        if not touched:
            return news
        for peer, asker in self._askers.items():
            for multihash in touched & asker.said.keys():
                cid, said = asker.said[multihash]
                hops = self.wants.reach(multihash, peer)
                if hops != said:
                    asker.said[multihash] = (cid, hops)
                    news.append(Reach(peer, cid, hops))
        return news

    def _may_pass(self, peer: str, asker: _Asker, want: Want, now: float) -> bool:
        multihash = want.cid.multihash
        if multihash not in asker.said and (
            len(asker.said) >= MAX_PASSED
            or sum(len(each.said) for each in self._askers.values()) >= MAX_PASSED_IN_ALL
        ):
            return False
        is_open = self.wants.is_open(multihash)
        goes_to_one = is_open or (want.block and self.wants.has_source(peer))
        if not (asker.direct if goes_to_one else asker.floods).try_take(1, now):
            return False
        self.passed += not is_open
        return True
