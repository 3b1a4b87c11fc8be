"""The flash path at work, and receipts: sent, repeated, acknowledged, passed on.

A flash or immediate note goes out as datagrams beside the links, to everybody near and to where each teammate
was heard or reached last. Who has it durably says so by a signed receipt, as a datagram and over the links,
on which receipts are passed on to whoever may know their note's author.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from collections import OrderedDict
from hashlib import sha256
from typing import TYPE_CHECKING

from meshconsole.core.errors import MeshconsoleError, Unavailable
from meshconsole.core.limits import TokenBucket
from meshconsole.core.precedence import Precedence, mark_of
from meshconsole.mesh.datagrams.messages import (
    FlashNote,
    FlashPart,
    Got,
    PartsHeld,
    ShortNote,
    decode_datagram,
)
from meshconsole.mesh.datagrams.packing import pack_note, pack_short, unpack_note
from meshconsole.mesh.datagrams.parts import Gathering, name_in
from meshconsole.mesh.endpoints import split_address
from meshconsole.mesh.flash import Flash
from meshconsole.mesh.helping import Helping
from meshconsole.mesh.known import KnownIds
from meshconsole.mesh.messages import Receipt, encode
from meshconsole.mesh.receipts import Sent, SentNotes, is_genuine, make_receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from meshconsole.core.event import Event
    from meshconsole.core.status import SentStatus
    from meshconsole.crypto.identity import Identity
    from meshconsole.mesh.ladder import Ladder
    from meshconsole.mesh.linking import Links
    from meshconsole.mesh.links.pipe import Meter
    from meshconsole.mesh.nearby import Nearby
    from meshconsole.mesh.receipts import Word
    from meshconsole.mesh.roster import Membership
    from meshconsole.mesh.session import PeerSession
    from meshconsole.relay.relay import Relay

log = logging.getLogger(__name__)

VIA_FLASH = "flash"
READERS = ("admin", "member", "observer")
AS_DATAGRAMS = ("flash", "immediate")
PARTS_AT_ONCE = 4
"""Of a note in parts; one where a link to somebody who lacks it carries events only."""
AGAIN_S = 0.2
"""Between two receipts for the same note, whatever is asked."""
LOOK_S = 0.5
"""At what the links have brought to others meanwhile."""
REMEMBERED = 256
LAST_KNOWN = 2
"""Addresses of a peer that was not heard, by which it was reached before."""
RECEIPTS_PER_S = 50.0
CHECKS_PER_S = 200.0
"""Signatures of receipts: one costs a tenth of a millisecond."""
NOTES_PER_S = 200.0
"""As many of notes: what was refused is looked at again each time it comes. And so many short ones are made
again, which costs a quarter of a millisecond each: whoever has heard them can play them again."""
SHORTS = 1024


class Flashing:
    def __init__(
        self,
        identity: Identity,
        membership: Membership,
        relay: Relay,
        links: Links,
        ladder: Ladder,
        nearby: Nearby,
        *,
        meter: Meter,
        now: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._identity = identity
        self._membership = membership
        self._relay = relay
        self._links = links
        self._ladder = ladder
        self._nearby = nearby
        self._now = now
        self._clock = clock
        self._flash = Flash()
        self._sent = SentNotes()
        self._given: OrderedDict[tuple[bytes, Word], tuple[Receipt, float]] = OrderedDict()
        """Receipts of this device, and when they were sent last."""
        self.helping = Helping(
            identity,
            links,
            nearby,
            where=self._last_known,
            is_with=self._is_with,
            delivered=lambda npub, event_id: self._sent.delivered(event_id, npub),
            meter=meter,
            now=now,
        )
        self._gathering = Gathering()
        self._in_parts: OrderedDict[bytes, bytes] = OrderedDict()
        """Notes of this device that went out in parts: name to event id."""
        self._shorts: OrderedDict[bytes, bytes] = OrderedDict()
        """Short notes of others that were made again: hash to event id."""
        self._passed = KnownIds(4096)
        self._taken = KnownIds(1024)
        """Notes that are being stored or are: id and signature, as the id does not cover that one."""
        self._got = KnownIds(1024)
        """Notes that came as datagrams and are neither flash nor immediate."""
        self._budget = TokenBucket(RECEIPTS_PER_S, 4 * RECEIPTS_PER_S)
        self._checks = TokenBucket(CHECKS_PER_S, 4 * CHECKS_PER_S)
        self._notes = TokenBucket(NOTES_PER_S, 4 * NOTES_PER_S)
        self._lengthened = TokenBucket(NOTES_PER_S, 4 * NOTES_PER_S)
        self._more = asyncio.Event()
        nearby.on_flash = self.received
        nearby.on_short = self._short_received
        nearby.on_part = self._part_received
        nearby.on_held = self._held_received
        nearby.on_got = self._got_received
        nearby.on_receipt = self.receipt

    # What this device sends.

    def sent(self, event: Event) -> None:
        """A note of this device is durably stored here; a flash or immediate one goes out at once. Roll calls
        and their answers are immediate, and look like any other note from outside."""
        to = self._readers()
        precedence = mark_of(event) or "routine"
        event_id = bytes.fromhex(event.id)
        self._sent.add(Sent(event_id, self._clock(), precedence, to))
        self._more.set()
        team = self._membership.team
        parts = pack_short(team.shorten_note(event) if team is not None else None) or pack_note(event)
        if parts is None:
            return
        if len(parts) > 1:
            self._in_parts[name_in(parts[0])] = event_id
            if len(self._in_parts) > REMEMBERED:
                self._in_parts.popitem(last=False)
        if precedence in AS_DATAGRAMS:
            self._flash.begin(event_id, parts, set(to), self._now())
            self._repeat()
        else:
            self.helping.sent(event_id, parts, to, Precedence[precedence.upper()])

    def status(self) -> Iterable[SentStatus]:
        return self._sent.status()

    def network_changed(self) -> None:
        self._flash.hurry(self._now())
        self._more.set()

    async def run(self) -> None:
        while True:
            self._look()
            self._repeat()
            self._more.clear()
            timer = self._flash.next_timer()
            wait = LOOK_S if self._sent.are_waiting else None
            if timer is not None:
                wait = min(LOOK_S, max(0.01, timer - self._now()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._more.wait()

    def _look(self) -> None:
        for npub, session in self._links.sessions.items():
            self._sent.look(npub, session.sync.known.__contains__)
            for event_id, flying in self._flash.under_way():
                if npub in flying.missing and event_id in session.sync.known:
                    self._flash.acknowledged(event_id, npub)

    def _repeat(self) -> None:
        due = self._flash.due(
            self._now()
        )  # in silence, too: else what is due would be looked at all the time
        for flying in due if self._nearby.may_seal else ():
            sessions = [self._links.sessions.get(npub) for npub in flying.missing]
            is_slow = any(session is not None and session.carries != "full" for session in sessions)
            for payload in flying.take(1 if is_slow else PARTS_AT_ONCE):
                self._send(payload, flying.missing)

    def _is_with(self, npub: str, event_id: bytes) -> bool:
        session = self._links.sessions.get(npub)
        is_confirmed = session is not None and event_id in session.sync.known
        return is_confirmed or self._sent.is_with(event_id, npub)

    def _send(self, payload: bytes, to: Collection[str]) -> None:
        datagram = self._nearby.sealer.seal(payload)
        self._nearby.port.everywhere(lambda _way: datagram)
        for npub in to:
            for address in self._last_known(npub):
                self._nearby.port.to(address, datagram)

    def _last_known(self, npub: str) -> list[str]:
        """Where it was heard, else where it was reached: datagrams are taken at the same number as links."""
        heard = self._nearby.hearing.of(npub)
        if heard is not None:
            return [heard.address]
        found = [c.address for c in self._ladder.candidates(npub) if c.ever_worked and _is_ip(c.address)]
        return found[:LAST_KNOWN]

    def _readers(self) -> frozenset[str]:
        team = self._membership.team
        devices = team.members() if team is not None else ()
        return frozenset(
            d.npub for d in devices if not d.removed and d.role in READERS and d.npub != self._identity.npub
        )

    # What others send.

    def received(self, note: FlashNote, address: str, parts: bytes = b"") -> None:
        """A flash note came as a datagram, or in `parts` of that name, perhaps again."""
        self._received(unpack_note(note), address, parts)

    def _short_received(self, short: ShortNote, address: str) -> None:
        name, team = sha256(short.data).digest(), self._membership.team
        known = self._shorts.get(name)
        if team is None or (known is not None and self._says_again(known, address)):
            return
        if not self._lengthened.try_take(1, self._now()):
            return
        event = team.lengthen_note(short.data)
        if event is None:
            return
        self._shorts[name] = bytes.fromhex(event.id)
        if len(self._shorts) > SHORTS:
            self._shorts.popitem(last=False)
        self._received(event, address)

    def _says_again(self, event_id: bytes, address: str) -> bool:
        """Whether the note is here: then whoever sends it is told once more."""
        given = self._given.get((event_id, "delivered"))
        if given is not None:
            self._send_receipt(given[0], address)
        elif event_id in self._got:
            self.helping.owe(address, event_id)
        else:
            return False
        return True

    def _received(self, event: Event, address: str, parts: bytes = b"") -> None:
        event_id = bytes.fromhex(event.id)
        if event.pubkey == self._identity.npub or not self._belongs(event.pubkey):
            return
        if self._says_again(event_id, address):
            return
        copy = event_id + bytes.fromhex(event.sig)
        if copy in self._taken:
            return
        if not self._notes.try_take(1, self._now()):
            self._gathering.forget(parts)
            return
        self._taken.add(copy)
        self._links.nursery.spawn("storing a flash note", self._store(event, copy, parts, address))

    def _part_received(self, part: FlashPart, address: str) -> None:
        """Says what is here of the note, or that it is whole."""
        now = self._now()
        event_id = self._gathering.known(part.name)
        if event_id is not None:
            self._says_again(event_id, address)
            return
        whole = self._gathering.put(part, now)
        note = decode_datagram(whole) if whole is not None else None
        if isinstance(note, FlashNote):
            self._gathering.done(part.name, bytes.fromhex(unpack_note(note).id))
            self.received(note, address, part.name)
        elif self._nearby.may_seal and self._budget.try_take(1, now):
            held = PartsHeld(part.name, bytes.fromhex(self._identity.npub), self._gathering.held(part.name))
            self._nearby.port.to(address, self._nearby.sealer.seal(encode(held)))

    def _held_received(self, held: PartsHeld) -> None:
        event_id, npub = self._in_parts.get(held.name), held.npub.hex()
        if event_id is not None and self._belongs(npub):
            self._flash.holds(event_id, npub, held.held)
            self.helping.holds(npub, event_id, held.held)

    def _got_received(self, got: Got) -> None:
        if self._belongs(got.npub.hex()):
            self.helping.got(got)

    async def _store(self, event: Event, copy: bytes, parts: bytes, address: str) -> None:
        author = self._links.sessions.get(event.pubkey)
        if author is not None:
            author.sync.known.add(bytes.fromhex(event.id))  # it need not be sent back
        try:
            verdict = await self._relay.publish(event, via=VIA_FLASH, trusted=True)
        except MeshconsoleError as error:
            self._not_taken(copy, parts)
            log.warning("a flash note waits to be sent again: %s", error.sentence)
            return
        if verdict.accepted:
            event_id = bytes.fromhex(event.id)
            if mark_of(event) in AS_DATAGRAMS:
                self.acknowledge(event_id, "delivered", address)
            else:
                self._got.add(event_id)
                self.helping.owe(address, event_id)
        else:
            self._not_taken(copy, parts)

    def _not_taken(self, copy: bytes, parts: bytes) -> None:
        """It may be sent again with better luck, say when there is room once more."""
        self._taken.discard(copy)
        self._gathering.forget(parts)

    def acknowledge(self, event_id: bytes, word: Word, address: str = "") -> None:
        """This device has the note durably, or somebody has read it here."""
        if (event_id, word) in self._given:
            return
        receipt = make_receipt(self._identity, event_id, word)
        self._given[event_id, word] = (receipt, self._now() - AGAIN_S)
        if len(self._given) > REMEMBERED:
            self._given.popitem(last=False)
        self._send_receipt(receipt, address)
        self._pass_on(receipt)

    def _send_receipt(self, receipt: Receipt, address: str) -> None:
        """As a datagram: to where the note came from, and to everybody near, as one way may be closed."""
        key, now = (receipt.event, receipt.word), self._now()
        _, last = self._given[key]
        if now - last < AGAIN_S or not self._nearby.may_seal or not self._budget.try_take(1, now):
            return
        self._given[key] = (receipt, now)
        datagram = self._nearby.sealer.seal(encode(receipt))
        if address:
            self._nearby.port.to(address, datagram)
        self._nearby.port.everywhere(lambda _way: datagram)

    def receipt(self, receipt: Receipt, source: PeerSession | None = None) -> None:
        """A receipt came, as a datagram or over the link of `source`."""
        mark, npub = receipt.sig[:32], receipt.npub.hex()
        if mark in self._passed or not self._checks.try_take(1, self._now()):
            return
        self._passed.add(mark)
        if not self._belongs(npub) or not is_genuine(receipt):
            return
        if self._sent.get(receipt.event) is not None:
            self._sent.acknowledged(receipt)
            self._flash.acknowledged(receipt.event, npub)
        else:
            self._pass_on(receipt, source)

    def _belongs(self, npub: str) -> bool:
        team = self._membership.team
        device = team.member(npub) if team is not None else None
        return device is not None and not device.removed

    def _pass_on(self, receipt: Receipt, source: PeerSession | None = None) -> None:
        self._passed.add(receipt.sig[:32])
        for session in self._links.sessions.values():
            if session is not source and session.npub != receipt.npub.hex():
                session.signal(receipt)


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(split_address(address)[0])
    except (ValueError, Unavailable):
        return False
    return True
