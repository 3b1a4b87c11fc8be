"""The team as one device acts in it: admitting, removing, rotating, sealing and opening. Pure.

Each act applies at once to what is known here and returns the events to publish: the caller stores
them durably before it sends anything. Nothing is decided by time: `now` only dates what is newly
signed, and `tend` takes it as a hint.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import LocalError, Refused
from meshconsole.crypto.bundle import open_bundle
from meshconsole.crypto.schnorr import npub_from_bech32
from meshconsole.team import direct, files, notes, plain
from meshconsole.team.direct import Direct
from meshconsole.team.entries import make_entry
from meshconsole.team.epochs import EpochKey, grant_event
from meshconsole.team.export import read_epoch_keys
from meshconsole.team.files import FileEntry, object_context, object_key
from meshconsole.team.intake import open_bundles
from meshconsole.team.invites import Invite, decode, encode, fresh_secret
from meshconsole.team.knowledge import Knowledge
from meshconsole.team.ops import (
    CLIENTS,
    MAX_LINKS,
    MAX_NAME,
    READS,
    WRITES,
    Add,
    AdmitClient,
    EpochLink,
    Found,
    NewEpoch,
    Remove,
    RootKey,
    SetRole,
)
from meshconsole.team.sealed import key_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshconsole.core.event import Event
    from meshconsole.core.precedence import PrecedenceName
    from meshconsole.crypto.identity import Identity
    from meshconsole.crypto.provider import Provider
    from meshconsole.team.notes import Note
    from meshconsole.team.ops import AnyOp, ClientRole, GivenRole, Policy
    from meshconsole.team.resolution import EpochRecord


MAX_DATAGRAM_KEYS = 3


class Team(Knowledge):
    """Raises Refused where an act is not allowed to this device."""

    @classmethod
    def found(
        cls,
        me: Identity,
        team_name: str,
        my_name: str,
        now: int,
        provider: Provider,
        root: Event | None = None,
    ) -> tuple[Team, list[Event]]:
        """A new team with this device as its first admin, and the events to publish.

        `root` is the bundle event of the offline key that outranks all admins.
        """
        key = EpochKey.fresh(b"", 1)
        root_key = None
        if root is not None:
            opened = open_bundle(root, provider)
            root_key = RootKey(npub=opened.npub, bundle=opened.hash.hex())
        admitted = Add(me.npub, _clip(my_name), "admin", me.bundle_hash.hex())
        ops: list[AnyOp] = [Found(_clip(team_name), root_key), admitted, NewEpoch(1, key.commit)]
        published = [me.bundle_event(now), *([root] if root is not None else [])]
        genesis = make_entry(me, (), ops, now)
        team = cls(me, genesis, open_bundles(published, provider), provider)
        grant = team._grant(EpochKey(team.team_id, 1, key.secret), me.npub, now)
        team.accept(grant)
        return team, [*published, genesis, grant]

    # --- Governing ---------------------------------------------------------------------------------

    def make_invite(self, addresses: list[str], now: int, lifetime_s: int) -> tuple[Invite, str]:
        """The invite and its text of at most 200 characters."""
        self._must_govern()
        text = encode(
            Invite(self.team_id, self._me.bundle_hash, fresh_secret(), now + lifetime_s, tuple(addresses))
        )
        return decode(text), text

    def admit(
        self, bundle_event: Event, name: str, role: GivenRole, now: int, replaces: str | None = None
    ) -> list[Event]:
        """The roster entry and, for a role that reads, the grant. A device that belongs already with
        the same keys gets its grant again.

        `replaces` names (npub) a lost device of the same person: it is removed in the same entry and
        the new one takes its name. Where the policy lets newcomers read from joining on only, a new
        epoch begins with them.
        """
        self._must_govern()
        bundle = open_bundle(bundle_event, self._provider)
        if bundle.suite.id != self.suite.id:
            raise Refused("invalid", "The device's keys are of another suite than the team's.")
        known = self.member(bundle.npub)
        belongs = known is not None and not known.removed
        if belongs and known is not None and known.bundle_hash != bundle.hash:
            raise Refused("restricted", "This device belongs already, with other keys.")
        self.accept(bundle_event)
        if belongs:
            return [bundle_event, *self._grants_for_writing([bundle.npub], now)]
        added = Add(bundle.npub, _clip(name), role, bundle.hash.hex(), replaces)
        if replaces is not None:
            lost = self.member(replaces)
            if lost is None or lost.removed:
                raise Refused("invalid", "The device to be replaced does not belong to the team.")
            added = msgspec.structs.replace(added, name=lost.name)
            return [bundle_event, *self._amend_and_rotate([Remove(replaces), added], now)]
        if role in READS and self._roster.state.rules.history == "joining":
            return [bundle_event, *self._amend_and_rotate([added], now)]
        self._must_hold_key(role)
        return [bundle_event, *self._amend([added], now), *self._grants_for_writing([bundle.npub], now)]

    def remove(self, npub: str, now: int, disown: Iterable[str] = ()) -> list[Event]:
        """Removes a device and begins a new epoch in the same entry; with grants for those who stay.

        `disown` names entries (ids) that the new one shall not build on, because a captured admin
        wrote them: the removal then voids them too. A plain client never had the team's key, so the
        key stays as it is.
        """
        if self.role_of(npub) in CLIENTS and not tuple(disown):
            self._must_govern()
            return self._amend([Remove(npub)], now)
        return self._amend_and_rotate([Remove(npub)], now, disown)

    def entries_by(self, npub: str) -> tuple[str, ...]:
        """Ids of the roster entries a device wrote, the oldest first; for `disown`."""
        return self._roster.entries_by(npub)

    def rotate(self, now: int) -> list[Event]:
        return self._amend_and_rotate([], now)

    def admit_client(self, npub: str, name: str, role: ClientRole, now: int) -> list[Event]:
        """Lets a plain Nostr key use the team's relays."""
        self._must_govern()
        return self._amend([AdmitClient(npub_from_bech32(npub), _clip(name), role)], now)

    def set_policy(self, policy: Policy, now: int) -> list[Event]:
        """What `policy` leaves out stays as it is."""
        self._must_govern()
        return self._amend([policy], now)

    def set_role(self, npub: str, role: GivenRole, now: int) -> list[Event]:
        """A role that reads or writes less begins a new epoch."""
        before = self.role_of(npub)
        if before is None:
            raise Refused("invalid", "No device of this team has that key.")
        if any(before in right and role not in right for right in (READS, WRITES)):
            return self._amend_and_rotate([SetRole(npub, role)], now)
        self._must_govern()
        if before in READS or role not in READS:
            return self._amend([SetRole(npub, role)], now)
        self._must_hold_key(role)
        return [*self._amend([SetRole(npub, role)], now), *self._grants_for_writing([npub], now)]

    def tend(self, now: int) -> list[Event]:
        """What an admin's device does of its own accord, now and then and when nothing is arriving.

        A new epoch where none is safe to write under or the last one is older than the policy says;
        else grants for those who were admitted out of earshot of it. Nothing on other devices.
        """
        if not self._roster.state.governs(self._me.npub):
            return []
        record, clean = self._roster.epochs_to_write()[0]
        age_s = now - self._intake.entries[record.entry].created_at
        if not clean or age_s > self._roster.state.rules.rotate_days * 86_400:
            return self._amend_and_rotate([], now)
        if not self.keys.holds(record):
            return []
        lacking = [
            npub
            for npub in sorted(self._roster.state.readers())
            if not any(self._roster.state.governs(by) for by in self.keys.granters(record, npub))
        ]
        return self._grants(self.keys.held(record), lacking, now)

    def _amend(self, ops: list[AnyOp], now: int, disown: Iterable[str] = ()) -> list[Event]:
        event = make_entry(self._me, self._roster.heads_without(disown), ops, now)
        verdict = self.accept(event)
        if not verdict.accepted:
            raise Refused(verdict.code, verdict.sentence)
        return [event]

    def _amend_and_rotate(self, ops: list[AnyOp], now: int, disown: Iterable[str] = ()) -> list[Event]:
        self._must_govern()
        disown = tuple(disown)
        view = self._roster.view(self._roster.heads_without(disown))
        key = EpochKey.fresh(self.team_id, 1 + max(record.n for record in view.epochs))
        links: tuple[EpochLink, ...] = ()
        if self._roster.state.rules.history == "full":
            links = tuple(EpochLink(old.kid, key.seal_link(old)) for old in self._unlinked())
        self.keys.add(key)
        events = self._amend([*ops, NewEpoch(key.n, key.commit, links)], now, disown)
        return events + self._grants(key, sorted(self._roster.state.readers()), now)

    def _unlinked(self) -> list[EpochKey]:
        """Held keys that no other held one leads to: the ends of the branches, newest first."""
        held = [record for record in self._roster.epochs() if self.keys.holds(record)]
        linked = {kid for record in held for kid in self.keys.opened_by(record, held)}
        ends = sorted((r for r in held if r.kid not in linked), key=lambda r: (-r.n, r.commit))
        return [self.keys.held(record) for record in ends[:MAX_LINKS]]

    def _must_govern(self) -> None:
        if not self._roster.state.governs(self._me.npub):
            raise Refused("restricted", "Only an admin of the team may do this.")

    def _must_hold_key(self, role: GivenRole) -> None:
        """Before somebody is let in: this device has a key to give."""
        if role in READS:
            self._writing()

    def _grants_for_writing(self, npubs: list[str], now: int) -> list[Event]:
        readers = [npub for npub in npubs if self.may_read(npub)]
        return self._grants(self.keys.held(self._writing()), readers, now) if readers else []

    def _grants(self, key: EpochKey, npubs: list[str], now: int) -> list[Event]:
        """For those whose bundle is here; the others get theirs from `tend` once it is."""
        events = [self._grant(key, npub, now) for npub in npubs if self._bundle_of(npub) is not None]
        for event in events:
            self.accept(event)
        return events

    def restore_keys(self, backup: bytes, now: int) -> list[Event]:
        """Epoch keys from a backup (team/export.py) that this device lacks: each is granted by it to
        itself, so that they are kept like those that others granted. Raises Refused."""
        if not self.may_read(self._me.npub):
            raise Refused("restricted", "This device's role holds no key of the team.")
        lacking = {record.commit for record in self._roster.epochs() if not self.keys.holds(record)}
        keys = [key for key in read_epoch_keys(backup, self.team_id) if key.commit in lacking]
        for key in keys:
            self.keys.add(key)
        return [self._grant(key, self._me.npub, now) for key in keys]

    def _grant(self, key: EpochKey, npub: str, now: int) -> Event:
        bundle = self._bundle_of(npub)
        if bundle is None:
            raise LocalError("A grant was to be made for a device whose keys are not known.")
        return grant_event(self._me, key, bundle, now, self._provider)

    # --- Epochs, notes, messages and files ---------------------------------------------------------

    def seal_note(self, text: str, now: int, precedence: PrecedenceName = "routine") -> Event:
        return notes.seal_note(self._me, self._writing_key(), text, now, precedence)

    def open_note(self, event: Event) -> Note:
        return notes.open_note(event, self._key_for(event), self._name_of(event.pubkey))

    def seal_direct(self, npub: str, text: str, now: int) -> Event:
        """A message that only the device `npub` and this one open."""
        key = self._writing_key()
        if not self.may_read(npub):
            raise Refused("restricted", "No device of this team that reads has that key.")
        bundle = self._bundle_of(npub)
        if bundle is None:
            raise Refused(
                "restricted",
                "The keys of that device have not reached this one yet.",
                hint="They come with the next sync with a teammate's device.",
            )
        return direct.seal_direct(self._me, bundle, key, text, now)

    def open_direct(self, event: Event) -> Direct | None:
        """None for a message between two other devices. Raises Refused."""
        key = self._key_for(event)
        mine = event.pubkey == self._me.npub
        known = [member.npub for member in self.members()] if mine else [self._me.npub]
        recipient = direct.recipient_of(event, key, known)
        if recipient is None:
            return None
        inner = direct.open_direct(self._me, event, key, recipient)
        return Direct(
            author=event.pubkey,
            name=self._name_of(event.pubkey),
            recipient=recipient,
            recipient_name=self._name_of(recipient),
            text=inner.content,
            created_at=inner.created_at,
            author_removed=self.role_of(event.pubkey) is None,
        )

    def wrap_plain(self, npub: str, text: str, now: int) -> tuple[Event, Event]:
        """A message to a plain Nostr key (hex) and the copy for this device; not post-quantum."""
        if not self.rules.plain_messages:
            raise Refused(
                "restricted",
                "The team's rule plain_messages is off: nothing is sent that is not post-quantum.",
                hint="An admin may change it: meshconsole team policy plain_messages=on",
            )
        if not self.may_write(self._me.npub):
            raise Refused("restricted", "This device's role reads only; it may not write to anybody.")
        member = self.member(npub)
        if member is not None and not member.removed:
            raise Refused(
                "restricted",
                "That key is a device of the team, which opens what is sealed for it.",
                hint="Send it without --plain.",
            )
        return plain.wrap_message(self._me, npub, text, now)

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

    def datagram_keys(self) -> tuple[bytes, ...]:
        """For sealed datagrams: of the epoch to write under, then of those that teammates who have not
        heard of it may still use."""
        writing = [record for record, _ in self._roster.epochs_to_write()]
        newest = sorted(self._roster.epochs(), key=lambda record: -record.n)[:MAX_DATAGRAM_KEYS]
        held = {r.commit: r for r in [*writing, *newest] if self.keys.holds(r)}
        return tuple(self.keys.held(r).derive("datagram") for r in list(held.values())[:MAX_DATAGRAM_KEYS])

    def _writing(self) -> EpochRecord:
        """The epoch to write under. Raises Refused while the latest clean one's key is not held.

        Falling back to an older key would hand what is written to whoever was just removed, or to
        whom the rotation was meant to shut out; withholding one grant would be enough for that.
        """
        choice = self._roster.epochs_to_write()
        clean = [record for record, is_clean in choice if is_clean]
        latest = [record for record in clean if record.n == clean[0].n]
        for record in latest or [record for record, _ in choice]:
            if self.keys.holds(record):
                return record
        if any(self.keys.holds(record) for record in self._roster.epochs()):
            raise Refused(
                "restricted",
                "The team has a new key that has not reached this device yet.",
                hint="It comes with the next sync with an admin's device.",
            )
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


def _clip(name: str) -> str:
    return name.strip()[:MAX_NAME] or "unnamed"
