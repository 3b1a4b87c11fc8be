"""What `wants` knows of each open want and of each peer. Pure."""

from __future__ import annotations

from collections import Counter, OrderedDict
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from meshconsole.content.exchange.bitswap import MAX_ENTRIES, Message
from meshconsole.core.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from meshconsole.content.exchange.bitswap import Want
    from meshconsole.content.formats.cid import Cid

START_WINDOW = 4
MIN_WINDOW = 2
MAX_WINDOW = 16
QUICK_S = 2.0
SLOW_S = 6.0
PATIENCE_S = 20.0
MAX_PATIENCE_S = 640.0
BENCH_S = 30.0

REMEMBERED = 4096
"""Closed wants per peer whose blocks may still be on their way."""

MAX_HOPS = 8
"""Devices that a want is passed on by, and through which a block is said to be in reach."""


class GivenUp(msgspec.Struct, frozen=True):
    """Happening: the peer owed `owed` blocks and sent nothing for `silent_s` seconds."""

    peer: str
    owed: int
    silent_s: float


class Asker(msgspec.Struct, frozen=True):
    """A peer that wants a block through us. `hops`: the devices that passed its want on before us;
    `block`: it wants the block, else just whether it can be had."""

    hops: int
    block: bool


def group_of(asker: str) -> bytes:
    """The group of all that a peer wants through us: who has some of it has more of it, most likely."""
    return b"\0for " + asker.encode()


class Open(msgspec.Struct):
    """A want that is not closed: this node's own where it has `groups`, and of `askers`. `told` are the
    peers that know of it, with the hops that they were told; `holders` those that have said they can give
    it, and through how many others."""

    cid: Cid
    groups: set[bytes] = msgspec.field(default_factory=set)
    askers: dict[str, Asker] = msgspec.field(default_factory=dict)
    owed_by: str | None = None
    told: dict[str, int] = msgspec.field(default_factory=dict)
    lacking: set[str] = msgspec.field(default_factory=set)
    holders: dict[str, int] = msgspec.field(default_factory=dict)
    towards: frozenset[str] = frozenset()
    """Only these are asked until `widens_at`: it is known to be behind them."""
    widens_at: float | None = None
    stock_id: bytes = b""

    def __post_init__(self) -> None:
        self.stock_id = stock_id(self.cid.multihash)

    @property
    def all_groups(self) -> set[bytes]:
        return self.groups | {group_of(asker) for asker in self.askers} if self.askers else self.groups

    @property
    def needs_block(self) -> bool:
        return bool(self.groups) or any(asker.block for asker in self.askers.values())

    def hops_to(self, peer: str) -> int | None:
        """What a want says that is sent to the peer; None if nobody but the peer itself wants the block."""
        if self.groups:
            return 0
        hops = [asker.hops + 1 for name, asker in self.askers.items() if name != peer]
        return min(hops, default=None)


class Peer(msgspec.Struct):
    passes: bool = False
    """It is asked on behalf of others too."""
    may_hear: Callable[[bytes], bool] | None = None
    """Whether it may learn of wants of the group; None for a peer that may learn of all."""
    owes: dict[bytes, float] = msgspec.field(default_factory=dict)
    """Multihash to the time of asking."""
    window: int = START_WINDOW
    patience_s: float = PATIENCE_S
    useful_at: float = 0.0
    benched_until: float | None = None
    is_doubtful: bool = False
    remembered: OrderedDict[bytes, set[bytes]] = msgspec.field(default_factory=OrderedDict)
    """Groups of the wants it was told of and that it need not answer any more, by multihash."""
    asked: Counter[bytes] = msgspec.field(default_factory=Counter)
    """How often it was asked for each block that has not come: as often it may send it."""
    wants: list[Want] = msgspec.field(default_factory=list)
    cancels: list[Cid] = msgspec.field(default_factory=list)
    is_new: bool = True

    @property
    def has_room(self) -> bool:
        return len(self.owes) < self.window

    @property
    def load(self) -> float:
        return len(self.owes) / self.window

    @property
    def next_timer(self) -> float | None:
        return self.useful_at + self.patience_s if self.owes else self.benched_until

    def credit(self, multihash: bytes, now: float) -> None:
        """It has sent a block that is wanted."""
        self.useful_at = now
        self.benched_until = None
        self.is_doubtful = False
        asked_at = self.owes.pop(multihash, None)
        if asked_at is not None and now - asked_at <= QUICK_S:
            self.window = min(self.window + 1, MAX_WINDOW)
        elif asked_at is not None and now - asked_at > SLOW_S:
            self.window = max(self.window - 1, MIN_WINDOW)

    def bench(self, now: float) -> None:
        """It is given up: what it owes is asked of others, and it of nothing for a while."""
        self.owes.clear()
        self.window = MIN_WINDOW
        self.is_doubtful = True
        self.patience_s = min(2 * self.patience_s, MAX_PATIENCE_S)
        self.benched_until = now + BENCH_S

    def messages(self) -> Iterator[Message]:
        """Takes what it is to be told."""
        while self.wants or self.cancels:
            wants, self.wants = self.wants[:MAX_ENTRIES], self.wants[MAX_ENTRIES:]
            room = MAX_ENTRIES - len(wants)
            cancels, self.cancels = self.cancels[:room], self.cancels[room:]
            yield Message(tuple(wants), tuple(cancels), full=self.is_new)
            self.is_new = False

    def forget(self, closed: Open) -> None:
        self.owes.pop(closed.cid.multihash, None)
        self.wants = [want for want in self.wants if want.cid != closed.cid]
        self.cancels.append(closed.cid)
        self.remember(closed)

    def remember(self, want: Open) -> None:
        self.remembered[want.cid.multihash] = want.all_groups
        if len(self.remembered) > REMEMBERED:
            self.asked.pop(self.remembered.popitem(last=False)[0], None)

    def answered(self, multihash: bytes) -> None:
        """A block has come, of a want that may be closed."""
        if self.asked[multihash] > 1:
            self.asked[multihash] -= 1
        else:
            self.asked.pop(multihash, None)
            self.remembered.pop(multihash, None)


def may_ask(want: Open, name: str, peer: Peer) -> bool:
    """Whether the peer may learn of the want at all."""
    if want.groups:
        return peer.may_hear is None or any(map(peer.may_hear, want.groups))
    hops = want.hops_to(name)
    return peer.passes and hops is not None and hops <= MAX_HOPS


def stock_id(multihash: bytes) -> bytes:
    """32 bytes that stand for a block where stocks are compared."""
    return sha256(multihash).digest()


class Sources(msgspec.Struct, frozen=True):
    """Who can give what. `providers` are by group, with the number of devices between; `stocks` are ids of
    blocks that a peer was found to have when this side lacked them."""

    peers: dict[str, Peer]
    providers: dict[bytes, dict[str, int]]
    stocks: dict[str, frozenset[bytes]] = msgspec.field(default_factory=dict)

    def nearest(self, want: Open) -> list[str]:
        """The nearest of those that may have it and are not benched; doubtful ones only if there are no
        others."""
        known = {name: hops for name, hops in self._known(want).items() if self._is_usable(want, name)}
        sure = {name: hops for name, hops in known.items() if not self.peers[name].is_doubtful} or known
        least = min(sure.values(), default=0)
        return sorted(name for name, hops in sure.items() if hops == least)

    def reach(self, want: Open, asker: str) -> int | None:
        """Through how many devices the asker can have it."""
        known = self._known(want) if want.askers[asker].block else want.holders
        usable = [hops for name, hops in known.items() if name != asker and self._is_usable(want, name)]
        nearest = min(usable, default=MAX_HOPS) + 1
        return nearest if nearest <= MAX_HOPS else None

    def _known(self, want: Open) -> dict[str, int]:
        """Who has said that it can give the block, or gave others of the same group."""
        known: dict[str, int] = {}
        for group in want.all_groups:
            for name, hops in self.providers[group].items():
                known[name] = min(hops, known.get(name, hops))
        if self.stocks:
            known.update((name, 0) for name, stock in self.stocks.items() if want.stock_id in stock)
        return known | want.holders

    def _is_usable(self, want: Open, name: str) -> bool:
        peer = self.peers[name]
        return name not in want.lacking and peer.benched_until is None and may_ask(want, name, peer)


def unsolicited() -> RemoteError:
    return RemoteError(
        "unsolicited-block",
        "The peer sent a block that was not asked for, or other bytes than those asked for.",
    )
