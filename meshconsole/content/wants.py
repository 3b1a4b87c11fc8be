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

Laws:
1. A block is taken only from a peer that was asked for it. A block that crossed our cancel is dropped
   in silence; any other one is RemoteError("unsolicited-block"). Bytes that do not match their CID are
   another CID, and nobody asked for that.
2. No want is forgotten: every SCOUT_S, all peers are asked again for those that nobody owes.
3. When a want is closed, every peer that was told of it is told so.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from meshconsole.content.bitswap import MAX_ENTRIES, Message, Want
from meshconsole.core.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshconsole.content.block import Block
    from meshconsole.content.cid import Cid

START_WINDOW = 4
MIN_WINDOW = 2
MAX_WINDOW = 16
QUICK_S = 2.0
SLOW_S = 6.0
PATIENCE_S = 20.0
MAX_PATIENCE_S = 640.0
BENCH_S = 30.0
SCOUT_S = 30.0
SCOUT_WANTS = 4
"""Wants of a group by which a peer is tried for being a provider."""

REMEMBERED = 4096
"""Closed wants per peer whose blocks may still be on their way."""

MAX_LEFT = 64
"""Peers that went away and are remembered."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Happening: the peer owed `owed` blocks and sent nothing for `silent_s` seconds."""

    peer: str
    owed: int
    silent_s: float


@dataclass(slots=True)
class _Open:
    """A want that is not closed. `told` are the peers that know of it."""

    cid: Cid
    groups: set[bytes] = field(default_factory=set)
    owed_by: str | None = None
    told: set[str] = field(default_factory=set)
    lacking: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Peer:
    owes: dict[bytes, float] = field(default_factory=dict)
    """Multihash to the time of asking."""
    window: int = START_WINDOW
    patience_s: float = PATIENCE_S
    useful_at: float = 0.0
    benched_until: float | None = None
    is_doubtful: bool = False
    remembered: OrderedDict[bytes, set[bytes]] = field(default_factory=OrderedDict)
    """Groups of the wants it was told of and that it need not answer any more, by multihash."""
    wants: list[Want] = field(default_factory=list)
    cancels: list[Cid] = field(default_factory=list)
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

    def forget(self, closed: _Open) -> None:
        self.owes.pop(closed.cid.multihash, None)
        self.wants = [want for want in self.wants if want.cid != closed.cid]
        self.cancels.append(closed.cid)
        self.remember(closed)

    def remember(self, want: _Open) -> None:
        self.remembered[want.cid.multihash] = want.groups
        if len(self.remembered) > REMEMBERED:
            self.remembered.popitem(last=False)


@dataclass(slots=True)
class Wants:
    _open: dict[bytes, _Open] = field(default_factory=dict)
    _peers: dict[str, _Peer] = field(default_factory=dict)
    _providers: dict[bytes, set[str]] = field(default_factory=dict)
    """By group."""
    _left: OrderedDict[str, OrderedDict[bytes, set[bytes]]] = field(default_factory=OrderedDict)
    """What peers that went away were asked for: one that comes back over another link may still send it."""
    _happened: list[GivenUp] = field(default_factory=list)
    _scout_at: float | None = None

    # Peers

    def attach(self, peer: str, now: float) -> None:
        self._peers[peer] = _Peer(remembered=self._left.pop(peer, OrderedDict()))
        self._scout(peer)
        self._assign(now)

    def detach(self, peer: str, now: float) -> None:
        """What it owed is asked of others."""
        state = self._peers.pop(peer, None)
        if state is None:
            return
        for providers in self._providers.values():
            providers.discard(peer)
        for want in self._open.values():
            if peer in want.told:
                state.remember(want)
            want.told.discard(peer)
            want.lacking.discard(peer)
            if want.owed_by == peer:
                want.owed_by = None
        self._left[peer] = state.remembered
        if len(self._left) > MAX_LEFT:
            self._left.popitem(last=False)
        self._assign(now)

    # Wants

    def want(self, cids: Iterable[Cid], group: bytes, now: float) -> None:
        """Opens wants; `group` names what they belong to."""
        self._providers.setdefault(group, set())
        for cid in cids:
            self._open.setdefault(cid.multihash, _Open(cid)).groups.add(group)
        self._assign(now)

    def close_group(self, group: bytes, now: float) -> None:
        """Nobody waits for the blocks of this group any more."""
        self._providers.pop(group, None)
        for multihash, want in list(self._open.items()):
            want.groups = want.groups - {group}
            if not want.groups:
                self._close(multihash)
        self._assign(now)

    def close(self, multihashes: Iterable[bytes], now: float) -> None:
        """The blocks have come here by another way."""
        for multihash in multihashes:
            if multihash in self._open:
                self._close(multihash)
        self._assign(now)

    def providers(self, group: bytes) -> int:
        """How many peers have shown that they hold blocks of the group."""
        return len(self._providers.get(group, ()))

    def is_owed(self, group: bytes) -> bool:
        """Whether a peer that is not given up owes a block of the group."""
        return any(want.owed_by is not None and group in want.groups for want in self._open.values())

    # What peers say

    def expect_blocks(self, peer: str, count: int) -> None:
        """Before `count` blocks of a message are hashed. Raises RemoteError("unsolicited-block")."""
        state = self._peers.get(peer)
        asked = sum(peer in want.told for want in self._open.values())
        if state is None or count > asked + len(state.remembered):
            raise _unsolicited()

    def blocks(self, peer: str, blocks: Iterable[Block], now: float) -> list[Block]:
        """Those that were wanted; their wants are closed. Raises RemoteError("unsolicited-block")."""
        state = self._peers.get(peer)
        accepted: list[Block] = []
        for block in blocks:
            multihash = block.cid.multihash
            want = self._open.get(multihash)
            if state is None or not ((want and peer in want.told) or multihash in state.remembered):
                raise _unsolicited()
            state.remembered.pop(multihash, None)
            if want is None:
                continue
            state.credit(multihash, now)
            want.told.discard(peer)
            # Where it was asked twice, the second asking may have crossed this block.
            state.remember(want)
            for group in want.groups:
                self._providers[group].add(peer)
            self._close(multihash)
            accepted.append(block)
        self._assign(now)
        return accepted

    def presences(self, peer: str, haves: Iterable[Cid], dont_haves: Iterable[Cid], now: float) -> None:
        """What the peer says of blocks it was told of; of others it says nothing to us."""
        state = self._peers.get(peer)
        if state is None:
            return
        for cid in haves:
            want = self._open.get(cid.multihash)
            groups = state.remembered.get(cid.multihash, set())
            if want is not None and peer in want.told:
                want.lacking.discard(peer)
                groups = want.groups
            # Who was not the first to have one block is most likely the second to have others.
            for group in groups & self._providers.keys():
                self._providers[group].add(peer)
        for cid in dont_haves:
            want = self._open.get(cid.multihash)
            if want is not None and peer in want.told:
                want.lacking.add(peer)
                if want.owed_by == peer:
                    want.owed_by = None
                    del state.owes[cid.multihash]
                    state.useful_at = now
        self._assign(now)

    # Time

    def next_timer(self) -> float | None:
        times = [peer.next_timer for peer in self._peers.values()]
        return min((time for time in (*times, self._scout_at) if time is not None), default=None)

    def handle_timer(self, now: float) -> None:
        for name, peer in self._peers.items():
            if peer.next_timer is not None and now >= peer.next_timer:
                if peer.owes:
                    self._give_up(name, peer, now)
                else:
                    peer.benched_until = None
        if self._scout_at is not None and now >= self._scout_at:
            self._scout_at = None
            for want in self._open.values():
                if want.owed_by is None:
                    for name in want.told:
                        self._peers[name].remember(want)
                    want.told.clear()
                    want.lacking.clear()
            for name in self._peers:
                self._scout(name)
        self._assign(now)

    # What comes out

    def outbox(self) -> list[tuple[str, Message]]:
        out: list[tuple[str, Message]] = []
        for name, peer in self._peers.items():
            while peer.wants or peer.cancels:
                wants, peer.wants = peer.wants[:MAX_ENTRIES], peer.wants[MAX_ENTRIES:]
                room = MAX_ENTRIES - len(wants)
                cancels, peer.cancels = peer.cancels[:room], peer.cancels[room:]
                out.append((name, Message(tuple(wants), tuple(cancels), full=peer.is_new)))
                peer.is_new = False
        return out

    def happened(self) -> list[GivenUp]:
        happened, self._happened = self._happened, []
        return happened

    # Parts

    def _assign(self, now: float) -> None:
        """Finds somebody to ask for each want that nobody owes."""
        for multihash, want in self._open.items():
            if want.owed_by is not None:
                continue
            candidates = self._candidates(want)
            if candidates:
                free = [name for name in candidates if self._peers[name].has_room]
                if free:
                    self._ask(min(free, key=lambda name: self._peers[name].load), multihash, want, now)
                continue
            for name in self._peers:
                if name not in want.told:
                    self._tell(name, want, block=False)
        if not self._open:
            self._scout_at = None
        elif self._scout_at is None:
            self._scout_at = now + SCOUT_S

    def _candidates(self, want: _Open) -> list[str]:
        """Providers that may have it and are not benched; doubtful ones only if there are no others."""
        names = set().union(*(self._providers[group] for group in want.groups)) - want.lacking
        ready = [name for name in sorted(names) if self._peers[name].benched_until is None]
        return [name for name in ready if not self._peers[name].is_doubtful] or ready

    def _ask(self, name: str, multihash: bytes, want: _Open, now: float) -> None:
        peer = self._peers[name]
        if not peer.owes:
            peer.useful_at = now
        want.owed_by = name
        peer.owes[multihash] = now
        self._tell(name, want, block=True)

    def _tell(self, name: str, want: _Open, *, block: bool) -> None:
        want.told.add(name)
        self._peers[name].wants.append(Want(want.cid, block))

    def _scout(self, name: str) -> None:
        """Finds out whether the peer has parts of what others are already sending."""
        for group, providers in self._providers.items():
            if name not in providers:
                unknown = (w for w in self._open.values() if group in w.groups and name not in w.told)
                for want in list(islice(unknown, SCOUT_WANTS)):
                    self._tell(name, want, block=False)

    def _close(self, multihash: bytes) -> None:
        want = self._open.pop(multihash)
        for name in want.told:
            self._peers[name].forget(want)

    def _give_up(self, name: str, peer: _Peer, now: float) -> None:
        self._happened.append(GivenUp(name, len(peer.owes), now - peer.useful_at))
        for multihash in peer.owes:
            # Told it stays: if the block comes after all, it is welcome.
            self._open[multihash].owed_by = None
        peer.owes.clear()
        peer.window = MIN_WINDOW
        peer.is_doubtful = True
        peer.patience_s = min(2 * peer.patience_s, MAX_PATIENCE_S)
        peer.benched_until = now + BENCH_S


def _unsolicited() -> RemoteError:
    return RemoteError(
        "unsolicited-block",
        "The peer sent a block that was not asked for, or other bytes than those asked for.",
    )
