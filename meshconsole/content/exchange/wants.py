"""What this node wants, and which peer is asked for what. Pure; `now` is in seconds of any clock.

Theory of operation. Somebody opens a want in a group (the blocks of one file). Peers that have shown
that they hold blocks of the group are its providers and are asked for the block at once; where there
are none, all peers are asked whether they have it (want-have), and the first that does is asked for it.
Each peer has a window of blocks it may owe us, so that one fetch keeps several links busy:

    a block came within QUICK_S       window + 1, up to MAX_WINDOW
    a block took longer than SLOW_S   window - 1, down to MIN_WINDOW
    DONT_HAVE                         the want goes to another peer at once
    nothing useful for its patience   the peer is given up: what it owes is asked of others, and it is
                                      benched; each time its patience doubles, for it may just be slow

A peer that was given up is asked again only where no other is known, until it has sent a block.

Peers want blocks through us, too (`passing.py`). Such a want has askers instead of groups. It is asked of all
peers that pass wants on but the asker, and the block itself only when an asker wants that. Who holds a block
says so; who can get it from others says through how many of them. The nearest are asked for it.

Laws:
1. A block is taken only from a peer that was asked for it. A block that crossed our cancel is dropped
   in silence; any other one is RemoteError("unsolicited-block"). Bytes that do not match their CID are
   another CID, and nobody asked for that.
2. No want is forgotten: every SCOUT_S, all peers are asked again for those that nobody owes.
3. When a want is closed, every peer that was told of it is told so.
4. Nobody is asked for what only it wants, and nothing is asked over more than MAX_HOPS devices; a peer is
   told anew when that number changes. So wants end in any net, and what is said of distances comes to rest,
   as in RIP (RFC 2453 §2.2, with 8 as infinity).
5. For one asker, at most AT_ONCE blocks are on their way or in hand.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from meshconsole.content.exchange.asking import (
    MAX_HOPS,
    Asker,
    GivenUp,
    Open,
    Peer,
    Sources,
    group_of,
    unsolicited,
)
from meshconsole.content.exchange.telling import should_tell, tell, tell_less

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from meshconsole.content.exchange.bitswap import Message, Want
    from meshconsole.content.formats.block import Block
    from meshconsole.content.formats.cid import Cid

SCOUT_S = 30.0
SCOUT_WANTS = 4
"""Wants of a group by which a peer is tried for being a provider."""

AT_ONCE = 4
"""Blocks for one peer that wants them through us."""

WIDEN_S = 1.0
"""A want that is sent towards known holders first goes everywhere after so long."""

MAX_LEFT = 64
"""Peers that went away and are remembered."""


@dataclass(slots=True)
class Wants:
    _open: dict[bytes, Open] = field(default_factory=dict)
    _peers: dict[str, Peer] = field(default_factory=dict)
    _providers: dict[bytes, dict[str, int]] = field(default_factory=dict)
    """By group, with the number of devices between."""
    _sources: Sources = field(init=False)
    _left: OrderedDict[str, OrderedDict[bytes, set[bytes]]] = field(default_factory=OrderedDict)
    """What peers that went away were asked for: one that comes back over another link may still send it."""
    _happened: list[GivenUp] = field(default_factory=list)
    _scout_at: float | None = None
    _touched: set[bytes] = field(default_factory=set)
    in_hand: Mapping[str, Collection[bytes]] = field(default_factory=dict)
    """Blocks that came for a peer and have not been sent to it yet; the shell's."""

    def __post_init__(self) -> None:
        self._sources = Sources(self._peers, self._providers)

    # Peers

    def attach(
        self,
        peer: str,
        now: float,
        *,
        passes: bool = False,
        may_hear: Callable[[bytes], bool] | None = None,
    ) -> None:
        """`passes`: it may be told what others want; `may_hear(group)`: what this node wants of a group."""
        self._peers[peer] = Peer(passes, may_hear, remembered=self._left.pop(peer, OrderedDict()))
        self._scout(peer)
        self.assign(now)

    def detach(self, peer: str, now: float) -> None:
        """What it owed is asked of others."""
        state = self._peers.pop(peer, None)
        if state is None:
            return
        self._providers.pop(group_of(peer), None)
        self._sources.stocks.pop(peer, None)
        for providers in self._providers.values():
            providers.pop(peer, None)
        for multihash, want in self._open.items():
            if peer in want.told:
                state.remember(want)
            want.told.pop(peer, None)
            want.lacking.discard(peer)
            want.holders.pop(peer, None)
            if want.owed_by == peer:
                want.owed_by = None
            self._touched.add(multihash)
        self._unask(peer, list(self._open))
        self._left[peer] = state.remembered
        if len(self._left) > MAX_LEFT:
            self._left.popitem(last=False)
        self.assign(now)

    # Wants

    def want(self, cids: Iterable[Cid], group: bytes, now: float) -> None:
        """Opens wants; `group` names what they belong to."""
        self._providers.setdefault(group, {})
        for cid in cids:
            self._open.setdefault(cid.multihash, Open(cid)).groups.add(group)
        self.assign(now)

    def close_group(self, group: bytes, now: float) -> None:
        """Nobody waits for the blocks of this group any more."""
        self._providers.pop(group, None)
        for multihash, want in list(self._open.items()):
            want.groups = want.groups - {group}
            if not (want.groups or want.askers):
                self._close(multihash)
        self.assign(now)

    def close(self, multihashes: Iterable[bytes], now: float) -> None:
        """The blocks have come here by another way."""
        for multihash in multihashes:
            if multihash in self._open:
                self._close(multihash)
        self.assign(now)

    def providers(self, group: bytes) -> int:
        """How many peers have shown that they hold blocks of the group."""
        return len(self._providers.get(group, ()))

    def is_owed(self, group: bytes) -> bool:
        """Whether a peer that is not given up owes a block of the group."""
        return any(want.owed_by is not None and group in want.groups for want in self._open.values())

    # What peers want through us

    def pass_on(self, want: Want, asker: str, now: float, towards: Collection[str] = frozenset()) -> None:
        """`towards` are peers that hold it or are linked to who does, as far as that is known. Goes out with
        the next `assign`."""
        multihash = want.cid.multihash
        opened = self._open.get(multihash)
        if opened is None:
            likely = frozenset(towards) - {asker}
            opened = Open(want.cid, towards=likely, widens_at=now + WIDEN_S if likely else None)
            self._open[multihash] = opened
        opened.askers[asker] = Asker(want.hops, want.block)
        self._providers.setdefault(group_of(asker), {})
        if want.block and opened.owed_by == asker:
            # Each waits for the other: it has not got the block.
            opened.owed_by = None
            self._peers[asker].owes.pop(multihash, None)
            opened.lacking.add(asker)
        self._touched.add(multihash)
        tell_less(opened, self._peers)

    def drop(self, asker: str, multihashes: Iterable[bytes], now: float) -> None:
        """The peer wants these no more."""
        self._unask(asker, multihashes)
        self.assign(now)

    def is_open(self, multihash: bytes) -> bool:
        return multihash in self._open

    def has_source(self, asker: str) -> bool:
        """Whether somebody is known who is likely to have what the peer wants next."""
        return bool(self._providers.get(group_of(asker)))

    def reach(self, multihash: bytes, asker: str) -> int | None:
        """Through how many devices the peer can have the block; None if nobody has said so."""
        want = self._open.get(multihash)
        return self._sources.reach(want, asker) if want is not None and asker in want.askers else None

    def touched(self) -> set[bytes]:
        """Wants of which others may be in reach than at the last call."""
        touched, self._touched = self._touched, set()
        return touched

    # What peers say

    def expect_blocks(self, peer: str, count: int) -> None:
        """Before `count` blocks of a message are hashed. Raises RemoteError("unsolicited-block")."""
        state = self._peers.get(peer)
        asked = sum(peer in want.told for want in self._open.values())
        if state is None or count > asked + len(state.remembered):
            raise unsolicited()

    def blocks(self, peer: str, blocks: Iterable[Block], now: float) -> list[Block]:
        """Those that were wanted; their wants are closed. Raises RemoteError("unsolicited-block")."""
        state = self._peers.get(peer)
        accepted: list[Block] = []
        for block in blocks:
            multihash = block.cid.multihash
            want = self._open.get(multihash)
            if state is None or not ((want and peer in want.told) or multihash in state.remembered):
                raise unsolicited()
            state.answered(multihash)
            if want is None:
                continue
            state.credit(multihash, now)
            want.told.pop(peer, None)
            # Where it was asked twice, the second asking may have crossed this block.
            state.remember(want)
            for group in want.all_groups:
                self._providers[group].setdefault(peer, want.holders.get(peer, 0))
            self._close(multihash)
            accepted.append(block)
        self.assign(now)
        return accepted

    def presences(
        self,
        peer: str,
        haves: Iterable[Cid],
        dont_haves: Iterable[Cid],
        now: float,
        afar: Iterable[tuple[Cid, int]] = (),
    ) -> None:
        """What the peer says of blocks it was told of; of others it says nothing to us."""
        state = self._peers.get(peer)
        if state is None:
            return
        lacks = list(dont_haves)
        for cid, hops in (*((cid, 0) for cid in haves), *afar):
            if hops > MAX_HOPS:
                lacks.append(cid)
                continue
            want = self._open.get(cid.multihash)
            groups = state.remembered.get(cid.multihash, set())
            if want is not None and peer in want.told:
                want.lacking.discard(peer)
                want.holders[peer] = hops
                groups = want.all_groups
                self._touched.add(cid.multihash)
            # Who was not the first to have one block is most likely the second to have others.
            for group in groups & self._providers.keys():
                self._providers[group][peer] = hops
        for cid in lacks:
            want = self._open.get(cid.multihash)
            if want is not None and peer in want.told:
                want.lacking.add(peer)
                want.holders.pop(peer, None)
                self._touched.add(cid.multihash)
                if want.owed_by == peer:
                    want.owed_by = None
                    del state.owes[cid.multihash]
                    state.useful_at = now
        self.assign(now)

    def stocked(self, peer: str, ids: frozenset[bytes], now: float) -> None:
        """What was found of the peer's blocks by comparing; a hint."""
        if peer in self._peers:
            self._sources.stocks[peer] = ids
            self._touched.update(self._open)
            self.assign(now)

    # Time

    def next_timer(self) -> float | None:
        times = [peer.next_timer for peer in self._peers.values()]
        times += [want.widens_at for want in self._open.values() if want.widens_at is not None]
        return min((time for time in (*times, self._scout_at) if time is not None), default=None)

    def handle_timer(self, now: float) -> None:
        for name, peer in self._peers.items():
            if peer.next_timer is not None and now >= peer.next_timer:
                if peer.owes:
                    self._give_up(name, peer, now)
                else:
                    peer.benched_until = None
                    self._touched.update(self._open)
        for want in self._open.values():
            if want.widens_at is not None and now >= want.widens_at:
                want.widens_at, want.towards = None, frozenset()
        if self._scout_at is not None and now >= self._scout_at:
            self._scout_at = None
            for want in self._open.values():
                if want.owed_by is None and (want.groups or not want.holders):
                    for name in want.told:
                        self._peers[name].remember(want)
                    want.told.clear()
                    want.lacking.clear()
            for name in self._peers:
                self._scout(name)
        self.assign(now)

    # What comes out

    def outbox(self) -> list[tuple[str, Message]]:
        out: list[tuple[str, Message]] = []
        for name, peer in self._peers.items():
            out.extend((name, message) for message in peer.messages())
        return out

    def happened(self) -> list[GivenUp]:
        happened, self._happened = self._happened, []
        return happened

    # Parts

    def assign(self, now: float) -> None:
        """Finds somebody to ask for each want that nobody owes."""
        passing: Counter[str] = Counter()
        for want in self._open.values():
            if want.owed_by is not None and not want.groups:
                passing.update(name for name, asker in want.askers.items() if asker.block)
        for multihash, want in self._open.items():
            if want.owed_by is not None:
                continue
            candidates = self._sources.nearest(want)
            if want.needs_block and candidates:
                free = [name for name in candidates if self._peers[name].has_room]
                if free and self._may_hold(want, passing):
                    self._ask(min(free, key=lambda name: self._peers[name].load), multihash, want, now)
                continue
            if not want.needs_block and any(name in want.holders for name in candidates):
                continue
            for name, peer in self._peers.items():
                if should_tell(want, name, peer):
                    tell(want, name, peer, block=False)
        if not self._open:
            self._scout_at = None
        elif self._scout_at is None:
            self._scout_at = now + SCOUT_S

    def _may_hold(self, want: Open, passing: Counter[str]) -> bool:
        """Whether one of those that want it has room for one more. Counts it."""
        if want.groups:
            return True
        askers = [name for name, asker in want.askers.items() if asker.block]
        if all(passing[name] + len(self.in_hand.get(name, ())) >= AT_ONCE for name in askers):
            return False
        passing.update(askers)
        return True

    def _ask(self, name: str, multihash: bytes, want: Open, now: float) -> None:
        peer = self._peers[name]
        if not peer.owes:
            peer.useful_at = now
        want.owed_by = name
        peer.owes[multihash] = now
        tell(want, name, peer, block=True)

    def _scout(self, name: str) -> None:
        """Finds out whether the peer has parts of what others are already sending."""
        peer = self._peers[name]
        for group, providers in self._providers.items():
            if name not in providers:
                unknown = (
                    want
                    for want in self._open.values()
                    if group in want.all_groups and name not in want.told and should_tell(want, name, peer)
                )
                for want in list(islice(unknown, SCOUT_WANTS)):
                    tell(want, name, peer, block=False)

    def _close(self, multihash: bytes) -> None:
        want = self._open.pop(multihash)
        self._touched.discard(multihash)
        for name in want.told:
            self._peers[name].forget(want)

    def _unask(self, asker: str, multihashes: Iterable[bytes]) -> None:
        for multihash in multihashes:
            want = self._open.get(multihash)
            if want is None or asker not in want.askers:
                continue
            del want.askers[asker]
            if want.groups or want.askers:
                tell_less(want, self._peers)
            else:
                self._close(multihash)

    def _give_up(self, name: str, peer: Peer, now: float) -> None:
        self._happened.append(GivenUp(name, len(peer.owes), now - peer.useful_at))
        for multihash in peer.owes:
            # Told it stays: if the block comes after all, it is welcome.
            self._open[multihash].owed_by = None
            self._touched.add(multihash)
        peer.bench(now)
