"""Copies of the team's files: this node says what it holds, hears what others hold, makes and drops copies.

What to do is decided in `content/replication.py`; here is the shell around it. A node whose IPFS node is
switched off says nothing and keeps no copies for others, but knows where they are.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from meshconsole.content.replication import Copies, Held, Site, Targets, copies_of, plan
from meshconsole.content.store.roots import BLOSSOM, PINNING, TEAM, Pin
from meshconsole.core.errors import MeshconsoleError, Refused
from meshconsole.team.holdings import KEPT, PINNED, Entry, Part, merged, read_part, sign_part, split

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable

    from meshconsole.content.service import Content
    from meshconsole.core.event import Event
    from meshconsole.core.verdict import Verdict
    from meshconsole.crypto.identity import Identity
    from meshconsole.team.state import Team

log = logging.getLogger(__name__)

START_S = 20.0
"""Links come up first; until then everybody seems to be away."""
SETTLE_S = 5.0
"""Changes in a row are told once."""
TICK_S = 60.0
TOLD_PER_GRACE = 4
"""A node says that it is there so often in a grace period, where nothing changes."""


class _Told(msgspec.Struct):
    """What one device said last, by part, and when."""

    parts: dict[int, Part] = msgspec.field(default_factory=dict)
    stamps: dict[int, tuple[int, str]] = msgspec.field(default_factory=dict)
    held: dict[str, Held] = msgspec.field(default_factory=dict)
    seen_at: float = 0.0


class Replicating:
    def __init__(
        self,
        *,
        content: Content,
        identity: Identity,
        team: Callable[[], Team | None],
        publish: Callable[[Event], Awaitable[Verdict]],
        linked: Callable[[], Collection[str]],
        targets: Callable[[], Targets],
        room: Callable[[], int],
        changed: Callable[[str], None],
        clock: Callable[[], float],
        gives: Callable[[], bool],
        must_wait: Callable[[], bool] = lambda: False,
    ) -> None:
        """`linked` are the devices with a link now, `room` is how many bytes this node could still take;
        `changed` is told each root of which there are more or fewer copies than before; while `must_wait`,
        no copies are made. Where it does not give, nobody counts on what it holds."""
        self._content = content
        self._identity = identity
        self._team = team
        self._publish = publish
        self._linked = linked
        self._targets = targets
        self._room = room
        self._changed = changed
        self._clock = clock
        self._gives = gives
        self._must_wait = must_wait
        self._told: dict[str, _Told] = {}
        self._short_since: dict[str, float] = {}
        self.is_due = asyncio.Event()

    def learn(self, event: Event) -> None:
        """What a device says. Devices that do not belong are not heard."""
        team = self._team()
        if team is None or team.member(event.pubkey) is None:
            return
        try:
            number, part = read_part(event)
        except Refused:
            return
        told = self._told.setdefault(event.pubkey, _Told())
        stamp = (event.created_at, event.id)
        if stamp <= told.stamps.get(number, (-1, "")):
            return
        before = told.parts.get(number)
        told.stamps[number], told.parts[number] = stamp, part
        told.held = {cid: _held(entry) for cid, entry in merged(told.parts).items()}
        # Not by the other's clock alone, which may be ahead.
        told.seen_at = max(told.seen_at, min(float(event.created_at), self._clock()))
        for cid in _differing(before.held if before else (), part.held):
            self._changed(cid)
        self.is_due.set()

    async def follow(self) -> None:
        """Never returns."""
        await asyncio.sleep(START_S)
        while True:
            self.is_due.clear()
            await self.update()
            try:
                async with asyncio.timeout(TICK_S):
                    await self.is_due.wait()
                await asyncio.sleep(SETTLE_S)
            except TimeoutError:
                continue

    async def update(self) -> None:
        """Says what is new, then does what there is to do."""
        if self._team() is None:
            return
        now = self._clock()
        for npub in self._linked():
            self._told.setdefault(npub, _Told()).seen_at = now
        gives = self._gives()
        if gives or self._has_told():
            await self._tell(now)
        todo = plan(
            self._identity.npub,
            self.sites(),
            self._targets(),
            now,
            reachable=self._linked(),
            short_since=self._short_since,
        )
        self._short_since = {cid: self._short_since.get(cid, now) for cid in todo.short}
        if not gives:
            return
        for cid in () if self._must_wait() else todo.copy:
            log.info("keeping a copy of %s: the team wants more", cid[-8:])
            await self._try(self._content.pin(cid, pin=Pin(TEAM)), cid)
        for cid in todo.drop:
            log.info("dropping the copy of %s: there are enough", cid[-8:])
            await self._try(self._content.unpin(cid, TEAM), cid)
        if todo.copy or todo.drop:
            await self._tell(now)  # at once: others are about to decide the same

    def copies(self, cid: str) -> Copies:
        return copies_of(cid, self.sites(cid), self._targets(), self._clock())

    def holders(self, cid: str) -> set[str]:
        """Other devices that say they have some of it."""
        me = self._identity.npub
        return {npub for npub, told in self._told.items() if npub != me and cid in told.held}

    def short(self) -> int:
        """How many roots have fewer copies than are wanted, as of the last look."""
        return len(self._short_since)

    def sites(self, only: str = "") -> list[Site]:
        """Every device that ever said something, and this one; with `only`, what they say of that one."""
        team = self._team()
        sites = [Site(self._identity.npub, self._clock(), self._room(), self._mine(only))]
        for npub, told in self._told.items():
            if npub == self._identity.npub:
                continue
            member = team.member(npub) if team is not None else None
            held = told.held
            if only:
                held = {only: held[only]} if only in held else {}
            room = max((part.room for part in told.parts.values()), default=0)
            sites.append(Site(npub, told.seen_at, room, held, gone=member is None or member.removed))
        return sites

    def _has_told(self) -> bool:
        """Of something that others may still count on."""
        told = self._told.get(self._identity.npub)
        return told is not None and any(part.held for part in told.parts.values())

    async def _tell(self, now: float) -> None:
        told = self._told.setdefault(self._identity.npub, _Told())
        entries = [_entry(cid, held) for cid, held in self._mine().items()] if self._gives() else []
        again_s = self._targets().grace_s / TOLD_PER_GRACE
        for number, held in split(entries).items():
            before = told.parts.get(number)
            stamp = told.stamps.get(number, (0, ""))[0]
            # Part 0 is said in any case: it tells that this node is there and has room.
            is_new = before.held != held if before is not None else bool(held) or number == 0
            if is_new or (number == 0 and now - stamp > again_s):
                # Whatever the clock says: it must take the place of the one before.
                at = max(int(now), stamp + 1)
                event = sign_part(self._identity, number, self._room(), held, at)
                verdict = await self._publish(event)
                if not verdict.accepted:
                    log.warning("what this node holds was not told: %s", verdict.sentence)
                    return
                told.stamps[number] = (at, event.id)
                told.parts[number] = Part(1, self._room(), held)

    def _mine(self, only: str = "") -> dict[str, Held]:
        mine: dict[str, Held] = {}
        for root in self._content.roots(only):
            presence = self._content.presence(root.cid)
            owners = [pin for pin in root.pins if not pin.owner.startswith((TEAM, BLOSSOM, PINNING))]
            if root.is_of_programs or not (root.pins or presence.complete):
                continue
            mine[root.cid] = Held(
                100 if presence.complete else _percent(presence.bytes, presence.total_bytes),
                bool(owners),
                root.pin_of(TEAM) is not None,
                max((pin.min_replicas for pin in owners), default=0),
                max((pin.max_replicas for pin in owners), default=0),
                presence.total_bytes or 0,
            )
        return mine

    async def _try(self, act: Awaitable[None], cid: str) -> None:
        try:
            await act
        except MeshconsoleError as error:
            log.warning("copy of %s: %s", cid[-8:], error.sentence)


def _entry(cid: str, held: Held) -> Entry:
    flags = (PINNED if held.pinned else 0) | (KEPT if held.kept else 0)
    return Entry(cid, held.percent, flags, held.size, held.min_replicas, held.max_replicas)


def _held(entry: Entry) -> Held:
    pinned, kept = bool(entry.flags & PINNED), bool(entry.flags & KEPT)
    return Held(entry.percent, pinned, kept, entry.min_replicas, entry.max_replicas, entry.size)


def _percent(have: int, total: int | None) -> int:
    """In quarters: each change is an event."""
    return min(75, 100 * have // total // 25 * 25) if total else 0


def _differing(before: Iterable[Entry], after: Iterable[Entry]) -> set[str]:
    return {entry.cid for entry in set(before) ^ set(after)}
