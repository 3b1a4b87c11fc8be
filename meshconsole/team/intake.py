"""Taking in control events in any order: key bundles first or last, children before parents. Pure.

What lacks a parent or its author's bundle waits, within bounds. What is refused is refused for good,
because the judgement rests on the entry's own past alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.errors import Refused
from meshconsole.crypto.bundle import KeyBundle, open_bundle
from meshconsole.team.entries import read_entry, team_id, verify_entry
from meshconsole.team.ops import Add
from meshconsole.team.proposals import verify_proposal
from meshconsole.team.roster import Roster

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshconsole.core.event import Event
    from meshconsole.crypto.provider import Provider
    from meshconsole.team.entering import Entry

MAX_WAITING = 1024
MAX_WAITING_BYTES = 4 << 20
"""Of entries that wait; beyond either bound the oldest is dropped and comes again by sync."""
MAX_WAITING_BY_AUTHOR = 64
"""Of entries by one author that wait and are stored nevertheless: nobody can delete them again."""
MAX_SPARE_BUNDLES = 256
"""Bundles that no entry names yet; beyond it the oldest is dropped."""

MAX_COPIES = 8
"""Events that say the same bundle: a device makes a new one each time that it asks to join."""

Bundles = dict[bytes, tuple[KeyBundle, "Event"]]
"""Opened bundles and their events, by hash."""


def open_bundles(events: Iterable[Event], provider: Provider) -> Bundles:
    """Those that verify; one stranger's broken bundle must not hide a team."""
    opened: Bundles = {}
    for event in events:
        try:
            bundle = open_bundle(event, provider)
        except Refused:
            continue
        opened.setdefault(bundle.hash, (bundle, event))
    return opened


class Intake:
    """The roster and the bundles behind it."""

    def __init__(self, genesis: Event, bundles: Bundles, provider: Provider) -> None:
        """`bundles` must hold the founder's. Raises Refused for a genesis that does not verify."""
        self._provider = provider
        self._bundles = dict(bundles)
        self._copies: dict[bytes, int] = {}
        """Of bundles that are here, how many more events said the same."""
        self._waiting: dict[str, tuple[Event, Entry]] = {}
        self._waiting_bytes = 0
        entry, self.suite = read_entry(genesis)
        self.roster = Roster(entry)
        self._team = team_id(entry.id)
        self.entries: dict[str, Event] = {entry.id: genesis}
        """Accepted, parents before children."""
        self._named: set[bytes] = set()
        self._note_names(entry)
        verify_entry(genesis, self._founder(entry), self.suite, provider)

    def admits_entry(self, event: Event) -> bool:
        """Whether an entry is to be stored: it may enter the graph, or waits for its parents and few others
        of its author do. Raises Refused for one that never enters, whatever comes."""
        entry = self._read(event)
        if entry.id in self.roster:
            return True
        if self._is_signed(event, entry):
            self.roster.check(entry)
            return True
        waiting = sum(other.author == entry.author for _, other in self._waiting.values())
        return entry.id in self._waiting or waiting < MAX_WAITING_BY_AUTHOR

    def admits_bundle(self, event: Event) -> bool:
        """Whether a bundle is to be stored: an entry names it, or there is room for one that none names yet.
        Raises Refused for one that does not verify."""
        digest = open_bundle(event, self._provider).hash
        if digest in self._bundles:
            return self._bundles[digest][1].id == event.id or self._copies.get(digest, 0) < MAX_COPIES
        if digest in self._named:
            return True
        return sum(known not in self._named for known in self._bundles) < MAX_SPARE_BUNDLES

    def take_entry(self, event: Event) -> bool:
        """Whether the roster grew; False for one that waits. Raises Refused."""
        entry = self._read(event)
        if not self._add(event, entry):
            self._wait(event, entry)
            return False
        self._retry()
        return True

    def take_stored(self, events: Iterable[Event]) -> None:
        """Entries from this device's own store, however many and in whatever order."""
        left = []
        for event in sorted(events, key=lambda event: event.created_at):
            try:
                left.append((event, self._read(event)))
            except Refused:
                continue
        before = -1
        while left and len(left) != before:
            before = len(left)
            left = [(event, entry) for event, entry in left if not self._settle(event, entry)]
        for event, entry in left:
            self._wait(event, entry)

    def take_bundle(self, event: Event) -> bool:
        """False if it is known. Raises Refused for one that does not verify."""
        bundle = open_bundle(event, self._provider)
        if bundle.hash in self._bundles:
            if self._bundles[bundle.hash][1].id != event.id:
                self._copies[bundle.hash] = self._copies.get(bundle.hash, 0) + 1
            return False
        self._bundles[bundle.hash] = (bundle, event)
        spare = [digest for digest in self._bundles if digest not in self._named]
        for digest in spare[:-MAX_SPARE_BUNDLES]:
            del self._bundles[digest]
        self._retry()
        return True

    def bundle(self, npub: str, digest: str) -> KeyBundle | None:
        """The keys of a device, by the hash (hex) that the roster gives; None while they are not here.

        None for ever if the hash is that of another device's keys: an entry that says so must not
        make one device pass for the other.
        """
        known = self._bundles.get(bytes.fromhex(digest))
        return known[0] if known and known[0].npub == npub else None

    def bundle_events(self) -> list[Event]:
        """Of everyone whom an entry names: void entries need their authors' keys as well."""
        return [event for digest, (_, event) in self._bundles.items() if digest in self._named]

    def _read(self, event: Event) -> Entry:
        entry, suite = read_entry(event, self._team)
        if suite.id != self.suite.id:
            raise Refused("invalid", "The roster entry is signed for another suite than the team's.")
        if not entry.parents and entry.id not in self.roster:
            raise Refused("invalid", "This is the genesis of another team.")
        return entry

    def _add(self, event: Event, entry: Entry) -> bool:
        """False while a parent or the bundle of a signer is missing. Raises Refused."""
        if entry.id in self.roster:
            return True
        if not self._is_signed(event, entry):
            return False
        self.roster.add(entry)
        self.entries[entry.id] = event
        self._note_names(entry)
        return True

    def _is_signed(self, event: Event, entry: Entry) -> bool:
        """False while a parent or the bundle of a signer is missing. Raises Refused for a wrong signature."""
        if self.roster.missing(entry.parents):
            return False
        bundle = self._signer(entry, entry.author)
        if bundle is None:
            return False
        if entry.second is not None and not self._is_agreed(entry):
            return False
        verify_entry(event, bundle, self.suite, self._provider)
        return True

    def _settle(self, event: Event, entry: Entry) -> bool:
        """Whether there is nothing left to wait for."""
        try:
            return self._add(event, entry)
        except Refused:
            return True

    def _wait(self, event: Event, entry: Entry) -> None:
        if entry.id in self._waiting:
            return
        self._waiting[entry.id] = (event, entry)
        self._waiting_bytes += _size(event)
        while len(self._waiting) > MAX_WAITING or self._waiting_bytes > MAX_WAITING_BYTES:
            self._forget(next(iter(self._waiting)))

    def _forget(self, entry_id: str) -> None:
        event, _ = self._waiting.pop(entry_id)
        self._waiting_bytes -= _size(event)

    def _retry(self) -> None:
        progress = True
        while progress:
            settled = [i for i, (event, entry) in self._waiting.items() if self._settle(event, entry)]
            for entry_id in settled:
                self._forget(entry_id)
            progress = bool(settled)

    def _is_agreed(self, entry: Entry) -> bool:
        """Whether the second admin signed it; False while the bundle is missing. Raises Refused."""
        second = entry.second
        if second is None or second.event is None:
            raise Refused("invalid", "The roster entry names a second admin who signed nothing.")
        bundle = self._signer(entry, second.npub)
        if bundle is None:
            return False
        verify_proposal(second.event, bundle, self.suite, self._provider)
        return True

    def _signer(self, entry: Entry, npub: str) -> KeyBundle | None:
        """The bundle under which a signer was known in the entry's own past. Raises Refused."""
        view = self.roster.view(entry.parents)
        if view.root is not None and view.root.npub == npub:
            return self.bundle(npub, view.root.bundle)
        if npub not in view.members:
            raise Refused("restricted", "Who signed this roster entry was never admitted.")
        return self.bundle(npub, view.members[npub].bundle)

    def _founder(self, genesis: Entry) -> KeyBundle:
        admitted = next(op for op in genesis.ops if isinstance(op, Add))
        bundle = self.bundle(genesis.author, admitted.bundle)
        if bundle is None:
            raise Refused("invalid", "The founder's key bundle is missing.")
        return bundle

    def _note_names(self, entry: Entry) -> None:
        self._named |= {bytes.fromhex(op.bundle) for op in entry.ops if isinstance(op, Add)}
        root = self.roster.state.root
        if root is not None:
            self._named.add(bytes.fromhex(root.bundle))


def _size(event: Event) -> int:
    return len(event.content) + sum(len(part) for tag in event.tags for part in tag)
