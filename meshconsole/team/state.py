"""The team as one device knows it: roster, key bundles and epoch keys together. Pure.

`accept` takes control events in any order; what lacks its parents or its author's bundle waits. The
same events give the same team on every device. Nothing here decides by time: `now` only dates what
is newly signed.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core import kinds
from meshconsole.core.errors import Refused
from meshconsole.core.verdict import ACCEPTED, DUPLICATE, Verdict, refuse
from meshconsole.crypto.bundle import KeyBundle, fingerprint, open_bundle
from meshconsole.team import files, notes
from meshconsole.team.entries import make_entry, read_entry, team_id, verify_entry
from meshconsole.team.epochs import EpochKey, grant_event
from meshconsole.team.files import FileEntry, object_context, object_key
from meshconsole.team.invites import Invite, decode, encode, fresh_secret
from meshconsole.team.keyring import Keyring
from meshconsole.team.ops import MAX_NAME, READS, WRITES, Add, EpochLink, Found, NewEpoch, Remove, SetRole
from meshconsole.team.roster import Roster
from meshconsole.team.sealed import key_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshconsole.core.event import Event
    from meshconsole.crypto.identity import Identity
    from meshconsole.crypto.provider import Provider
    from meshconsole.crypto.suites import Suite
    from meshconsole.team.notes import Note
    from meshconsole.team.ops import AnyOp, GivenRole
    from meshconsole.team.resolution import EpochRecord, Standing
    from meshconsole.team.roster import Entry

MAX_WAITING = 1024
"""Entries that wait for a parent or a bundle; beyond it the oldest is dropped and comes again by sync."""
MAX_SPARE_BUNDLES = 1024


class Member(msgspec.Struct, frozen=True):
    """A device of the team, or one that was removed. `npub` is 64 hex characters; names never identify."""

    npub: str
    name: str
    role: str
    bundle_hash: bytes
    mldsa_public: bytes
    """Empty while the device's key bundle has not arrived."""
    fingerprint: str
    removed: bool


class Team:
    """Raises Refused where an act is not allowed to this device."""

    def __init__(self, me: Identity, genesis: Event, bundles: Iterable[Event], provider: Provider) -> None:
        """`bundles` must hold the founder's. Raises Refused for a genesis that does not verify."""
        self._me = me
        self._provider = provider
        self._bundles: dict[bytes, tuple[KeyBundle, Event]] = {}
        self._entries: dict[str, Event] = {}
        self._waiting: dict[str, tuple[Event, Entry]] = {}
        for event in bundles:
            self._take_bundle(event)
        entry, suite = read_entry(genesis)
        self.suite: Suite = suite
        self._roster = Roster(entry)
        verify_entry(genesis, self._founder(entry), suite, provider)
        self._entries[entry.id] = genesis
        self.team_id = team_id(entry.id)
        self.name = self._roster.name
        self.keys = Keyring(me, self.team_id)
        self._members: tuple[Member, ...] | None = None

    @classmethod
    def found(
        cls, me: Identity, team_name: str, my_name: str, now: int, provider: Provider
    ) -> tuple[Team, list[Event]]:
        """A new team with this device as its first admin, and the events to publish."""
        key = EpochKey.fresh(b"", 1)
        admitted = Add(me.npub, _clip(my_name), "admin", me.bundle_hash.hex())
        ops: list[AnyOp] = [Found(_clip(team_name)), admitted, NewEpoch(1, key.commit)]
        bundle, genesis = me.bundle_event(now), make_entry(me, (), ops, now)
        team = cls(me, genesis, [bundle], provider)
        grant = team._grant(EpochKey(team.team_id, 1, key.secret), me.npub, now)
        team.accept(grant)
        return team, [bundle, genesis, grant]

    @classmethod
    def load(cls, me: Identity, events: Iterable[Event], provider: Provider) -> Team | None:
        """The team that `events` hold and that this device was admitted to; None if there is none."""
        by_kind: dict[int, list[Event]] = {kind: [] for kind in kinds.CONTROL_KINDS}
        for event in events:
            if event.kind in by_kind:
                by_kind[event.kind].append(event)
        bundles = by_kind[kinds.KEY_BUNDLE]
        for event in by_kind[kinds.ROSTER_ENTRY]:
            team = cls._begun_by(event, me, bundles, provider)
            if team is None:
                continue
            for other in by_kind[kinds.ROSTER_ENTRY] + by_kind[kinds.EPOCH_GRANT]:
                team.accept(other)
            if team.member(me.npub) is not None:
                return team
        return None

    @classmethod
    def _begun_by(cls, event: Event, me: Identity, bundles: list[Event], provider: Provider) -> Team | None:
        try:
            entry, _ = read_entry(event)
            return None if entry.parents else cls(me, event, bundles, provider)
        except Refused:
            return None

    # --- Taking in ---------------------------------------------------------------------------------

    def accept(self, event: Event) -> Verdict:
        """A roster entry, key bundle or grant whose Nostr signature was checked. Order does not matter."""
        try:
            match event.kind:
                case kinds.ROSTER_ENTRY:
                    return self._take_entry(event)
                case kinds.KEY_BUNDLE:
                    if self._take_bundle(event):
                        self._members = None
                        self._retry()
                case kinds.EPOCH_GRANT:
                    self.keys.offer(event)
                    self.keys.catch_up(self._roster.epochs())
                case _:
                    return refuse("invalid", "that is not a control event")
        except Refused as error:
            return Verdict(False, error.code, error.sentence)  # type: ignore[arg-type]
        return ACCEPTED

    def _take_entry(self, event: Event) -> Verdict:
        if event.id in self._entries:
            return DUPLICATE
        entry, suite = read_entry(event)
        if suite.id != self.suite.id:
            raise Refused("invalid", "The roster entry is signed for another suite than the team's.")
        if not entry.parents:
            raise Refused("invalid", "This is the genesis of another team.")
        if self._add(event, entry):
            self._retry()
            self.keys.catch_up(self._roster.epochs())
        else:
            self._waiting[event.id] = (event, entry)
            if len(self._waiting) > MAX_WAITING:
                del self._waiting[next(iter(self._waiting))]
        return ACCEPTED

    def _add(self, event: Event, entry: Entry) -> bool:
        """False while a parent or the author's bundle is missing. Raises Refused."""
        if self._roster.missing(entry.parents):
            return False
        bundle = self._bundle_of(event.pubkey, entry)
        if bundle is None:
            return False
        verify_entry(event, bundle, self.suite, self._provider)
        self._roster.add(entry)
        self._entries[event.id] = event
        self._members = None
        return True

    def _retry(self) -> None:
        progress = True
        while progress:
            progress = False
            for event, entry in list(self._waiting.values()):
                try:
                    added = self._add(event, entry)
                except Refused:
                    added = True  # refused for good: it leaves the waiting room too
                if added:
                    del self._waiting[event.id]
                    progress = True

    def _bundle_of(self, npub: str, entry: Entry) -> KeyBundle | None:
        """The bundle under which an author was known in the entry's own past. Raises Refused."""
        view = self._roster.view(entry.parents)
        if view.root is not None and view.root.npub == npub:
            wanted = view.root.bundle
        elif npub in view.members:
            wanted = view.members[npub].bundle
        else:
            raise Refused("restricted", "The author of this roster entry was never admitted.")
        known = self._bundles.get(bytes.fromhex(wanted))
        return known[0] if known else None

    def _founder(self, genesis: Entry) -> KeyBundle:
        admitted = next(op for op in genesis.ops if isinstance(op, Add))
        known = self._bundles.get(bytes.fromhex(admitted.bundle))
        if known is None:
            raise Refused("invalid", "The founder's key bundle is missing.")
        return known[0]

    def _take_bundle(self, event: Event) -> bool:
        """Raises Refused for a bundle that does not verify. False if it is known."""
        bundle = open_bundle(event, self._provider)
        if bundle.hash in self._bundles:
            return False
        spare = len(self._bundles) - len(self._entries)
        if spare > MAX_SPARE_BUNDLES:
            raise Refused("restricted", "Too many key bundles of strangers.")
        self._bundles[bundle.hash] = (bundle, event)
        return True

    # --- Who belongs -------------------------------------------------------------------------------

    @property
    def my_role(self) -> str | None:
        return self.role_of(self._me.npub)

    def members(self) -> tuple[Member, ...]:
        """Everyone ever admitted, those removed too."""
        if self._members is None:
            self._members = tuple(self._member(s) for s in self._roster.state.members.values())
        return self._members

    def member(self, npub: str) -> Member | None:
        return next((member for member in self.members() if member.npub == npub), None)

    def role_of(self, npub: str) -> str | None:
        role = self._roster.state.role_of(npub)
        return None if role == "removed" else role

    def may_write(self, npub: str) -> bool:
        return self.role_of(npub) in WRITES

    def may_read(self, npub: str) -> bool:
        return self.role_of(npub) in READS

    def device_for_key(self, mldsa_public: bytes) -> Member | None:
        """The device with a live role that holds this key; for pinning links."""
        for member in self.members():
            if not member.removed and member.mldsa_public and member.mldsa_public == mldsa_public:
                return member
        return None

    def control_events(self) -> list[Event]:
        """Everything a joining device needs besides its own grant: bundles, then entries in causal order."""
        wanted = {bytes.fromhex(s.bundle) for s in self._roster.state.members.values()}
        bundles = [event for digest, (_, event) in self._bundles.items() if digest in wanted]
        return bundles + list(self._entries.values())

    # --- Governing ---------------------------------------------------------------------------------

    def make_invite(self, addresses: list[str], now: int, lifetime_s: int) -> tuple[Invite, str]:
        """The invite and its text of at most 200 characters."""
        self._must_govern()
        text = encode(
            Invite(self.team_id, self._me.bundle_hash, fresh_secret(), now + lifetime_s, tuple(addresses))
        )
        return decode(text), text

    def admit(self, bundle_event: Event, name: str, role: GivenRole, now: int) -> list[Event]:
        """The roster entry and, for a role that reads, the grant. A device that belongs already with
        the same keys gets its grant again."""
        self._must_govern()
        bundle = open_bundle(bundle_event, self._provider)
        if bundle.suite.id != self.suite.id:
            raise Refused("invalid", "The device's keys are of another suite than the team's.")
        self._bundles.setdefault(bundle.hash, (bundle, bundle_event))
        known = self.member(bundle.npub)
        events: list[Event] = []
        if known is None or known.removed:
            events = self._amend([Add(bundle.npub, _clip(name), role, bundle.hash.hex())], now)
        elif known.bundle_hash != bundle.hash:
            raise Refused("restricted", "This device belongs already, with other keys.")
        if self.may_read(bundle.npub):
            events.append(self._grant(self.keys.held(self._writing()), bundle.npub, now))
        return [bundle_event, *events]

    def remove(self, npub: str, now: int) -> list[Event]:
        """Removes a device and begins a new epoch in the same entry; with grants for those who stay."""
        return self._amend_and_rotate([Remove(npub)], now)

    def rotate(self, now: int) -> list[Event]:
        return self._amend_and_rotate([], now)

    def set_role(self, npub: str, role: GivenRole, now: int) -> list[Event]:
        """A role that reads or writes less begins a new epoch."""
        before = self.role_of(npub)
        if before is None:
            raise Refused("invalid", "No device of this team has that key.")
        if any(before in right and role not in right for right in (READS, WRITES)):
            return self._amend_and_rotate([SetRole(npub, role)], now)
        self._must_govern()
        events = self._amend([SetRole(npub, role)], now)
        if before not in READS and role in READS:
            events.append(self._grant(self.keys.held(self._writing()), npub, now))
        return events

    def _amend(self, ops: list[AnyOp], now: int) -> list[Event]:
        event = make_entry(self._me, self._roster.heads, ops, now)
        verdict = self.accept(event)
        if not verdict.accepted:
            raise Refused(verdict.code, verdict.sentence)
        return [event]

    def _amend_and_rotate(self, ops: list[AnyOp], now: int) -> list[Event]:
        self._must_govern()
        records = self._roster.state.epochs
        newest = max(record.n for record in records)
        key = EpochKey.fresh(self.team_id, newest + 1)
        links: tuple[EpochLink, ...] = ()
        if self._roster.state.rules.history == "full":
            held = [self.keys.held(r) for r in records if r.n == newest and self.keys.holds(r)]
            links = tuple(EpochLink(old.kid, key.seal_link(old)) for old in held)
        self.keys.add(key)
        events = self._amend([*ops, NewEpoch(key.n, key.commit, links)], now)
        readers = sorted(self._roster.state.readers())
        return events + [self._grant(key, npub, now) for npub in readers if self._has_bundle(npub)]

    def _must_govern(self) -> None:
        if not self._roster.state.governs(self._me.npub):
            raise Refused("restricted", "Only an admin of the team may do this.")

    def _grant(self, key: EpochKey, npub: str, now: int) -> Event:
        bundle, _ = self._bundles[bytes.fromhex(self._roster.state.members[npub].bundle)]
        return grant_event(self._me, key, bundle, now, self._provider)

    def _has_bundle(self, npub: str) -> bool:
        return bytes.fromhex(self._roster.state.members[npub].bundle) in self._bundles

    # --- Epochs, notes and files -------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The number of the epoch that is written under."""
        return self._roster.epochs_to_write()[0][0].n

    def seal_note(self, text: str, now: int) -> Event:
        return notes.seal_note(self._me, self._writing_key(), text, now)

    def open_note(self, event: Event) -> Note:
        return notes.open_note(event, self._key_for(event), self._name_of(event.pubkey))

    def seal_manifest(self, entry: FileEntry, now: int) -> Event:
        return files.seal_manifest(self._me, self._writing_key(), entry, now)

    def open_manifest(self, event: Event) -> FileEntry:
        return files.open_manifest(event, self._key_for(event))

    def object_key(self) -> bytes:
        return object_key()

    def object_context(self) -> bytes:
        return object_context(self.suite.id, self.team_id)

    def rendezvous_tag(self, ephemeral_id: bytes) -> str:
        """16 hex characters by which teammates recognise an announcement, and strangers nothing."""
        record = self._roster.epochs_to_write()[0][0]
        if self.keys.holds(record):
            return self.keys.held(record).blinded(b"rendezvous" + ephemeral_id)[:16]
        # A relay holds no epoch key; it is found by the team's id, which strangers do not know either.
        return hmac.digest(self.team_id, b"rendezvous" + ephemeral_id, "sha256").hex()[:16]

    def _writing(self) -> EpochRecord:
        for record, _ in self._roster.epochs_to_write():
            if self.keys.holds(record):
                return record
        raise Refused("restricted", "This device has not been given the team's key yet.")

    def _writing_key(self) -> EpochKey:
        if not self.may_write(self._me.npub):
            raise Refused("restricted", "This device's role reads only; it may not write to the team.")
        return self.keys.held(self._writing())

    def _key_for(self, event: Event) -> EpochKey:
        """The key an event is sealed under, if its author could write in that epoch. Raises Refused."""
        kid = key_id(event)
        record = next((r for r in self._roster.epochs() if r.kid == kid), None)
        if record is None or not self.keys.holds(record):
            raise Refused("restricted", "This device has no key for it.")
        if not self._roster.could_write(event.pubkey, record):
            raise Refused("restricted", "Its author may not write to the team.")
        return self.keys.held(record)

    def _name_of(self, npub: str) -> str:
        member = self.member(npub)
        return member.name if member else npub[:8]

    def _member(self, standing: Standing) -> Member:
        digest = bytes.fromhex(standing.bundle)
        known = self._bundles.get(digest)
        return Member(
            standing.npub,
            standing.name,
            standing.role,
            digest,
            known[0].mldsa_public if known else b"",
            fingerprint(digest),
            standing.role == "removed",
        )


def _clip(name: str) -> str:
    return name.strip()[:MAX_NAME] or "unnamed"
