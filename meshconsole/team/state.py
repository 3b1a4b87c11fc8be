"""The team as one device acts in it: admitting, removing, rotating, sealing and opening. Pure.

Each act applies at once to what is known here and returns the events to publish: the caller stores
them durably before it sends anything. Nothing is decided by time: `now` only dates what is newly
signed, and `tend` takes it as a hint.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import Refused
from meshconsole.crypto.bundle import open_bundle
from meshconsole.crypto.schnorr import npub_from_bech32
from meshconsole.team import direct, files, notes, plain, rollcall, short
from meshconsole.team.acting import MAX_CLOSED, Acting
from meshconsole.team.direct import Direct
from meshconsole.team.entries import make_entry
from meshconsole.team.epochs import EpochKey
from meshconsole.team.export import read_epoch_keys
from meshconsole.team.files import FileEntry, object_context, object_key
from meshconsole.team.intake import open_bundles
from meshconsole.team.invites import Invite, decode, encode, fresh_secret
from meshconsole.team.ops import (
    CLIENTS,
    MAX_NAME,
    Add,
    AdmitClient,
    Found,
    NewEpoch,
    Refuse,
    Remove,
    RootKey,
    SetRole,
)
from meshconsole.team.sealed import key_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshconsole.core.event import Event
    from meshconsole.core.precedence import PrecedenceName
    from meshconsole.crypto.bundle import KeyBundle
    from meshconsole.crypto.identity import Identity
    from meshconsole.crypto.provider import Provider
    from meshconsole.team.notes import Note
    from meshconsole.team.ops import AnyOp, ClientRole, GivenRole, Policy
    from meshconsole.team.rollcall import Roll


MAX_DATAGRAM_KEYS = 3


class Team(Acting):
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
            if opened.suite.id != me.suite.id:
                raise Refused("invalid", "The root key is of another suite than this device.")
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
        self,
        bundle_event: Event,
        name: str,
        role: GivenRole,
        now: int,
        replaces: str | None = None,
        person: str | None = None,
    ) -> list[Event]:
        """The roster entry and, for a role that reads, the grant; or the proposal, where a second admin must
        agree. A device that belongs already with the same keys gets its grant again.

        `replaces` names (npub) a lost device of the same person: it is removed in the same entry and
        the new one takes its name. `person` names another device of the same person, which stays. Where
        the policy lets newcomers read from joining on only, a new epoch begins with them.
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
        added = Add(bundle.npub, _clip(name), role, bundle.hash.hex(), replaces, person)
        if replaces is None:
            return [bundle_event, *self._carry_out([added], now)]
        lost = self.member(replaces)
        if lost is None or lost.removed:
            raise Refused("invalid", "The device to be replaced does not belong to the team.")
        added = msgspec.structs.replace(added, name=lost.name)
        return [bundle_event, *self._carry_out([Remove(replaces), added], now)]

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
        return self._carry_out([AdmitClient(npub_from_bech32(npub), _clip(name), role)], now)

    def set_policy(self, policy: Policy, now: int) -> list[Event]:
        """What `policy` leaves out stays as it is."""
        return self._carry_out([policy], now)

    def set_role(self, npub: str, role: GivenRole, now: int) -> list[Event]:
        """A role that reads or writes less begins a new epoch."""
        if self.role_of(npub) is None:
            raise Refused("invalid", "No device of this team has that key.")
        return self._carry_out([SetRole(npub, role)], now)

    def agree(self, proposal_id: str, now: int) -> list[Event]:
        """Carries out what another admin has proposed. The id's beginning is enough."""
        self._must_govern()
        proposal = self._proposal(proposal_id)
        if proposal.npub == self._me.npub:
            raise Refused("restricted", "This device proposed it; another admin must agree.")
        return self._carry_out(list(proposal.ops), now, proposal)

    def refuse(self, proposal_id: str, now: int) -> list[Event]:
        """Closes a proposal for good, another admin's or this one's. The id's beginning is enough."""
        self._must_govern()
        return self._amend([Refuse(self._proposal(proposal_id).id)], now)

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
        lapsed = [Refuse(p.id) for p in self._lapsed() if p.npub == self._me.npub][:MAX_CLOSED]
        if lapsed:  # else whoever kept it could still use it, dated back to when it was made
            return self._amend(list(lapsed), now)
        lacking = [
            npub
            for npub in sorted(self._roster.state.readers())
            if not any(self._roster.state.governs(by) for by in self.keys.granters(record, npub))
        ]
        return self._grants(self.keys.held(record), lacking, now)

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

    # --- Epochs, notes, messages and files ---------------------------------------------------------

    def seal_note(self, text: str, now: int, precedence: PrecedenceName = "routine") -> Event:
        return notes.seal_note(self._me, self._writing_key(), text, now, precedence)

    def seal_roll(self, roll: Roll, now: int) -> Event:
        return rollcall.seal_roll(self._me, self._writing_key(), roll, now)

    def open_note(self, event: Event) -> Note:
        removed = self.role_of(event.pubkey) is None
        return notes.open_note(event, self._key_for(event), self._name_of(event.pubkey), removed=removed)

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

    def readers(self) -> list[KeyBundle]:
        """The keys of all devices that may read, as far as they are known here."""
        npubs = [member.npub for member in self.members() if self.may_read(member.npub)]
        return [bundle for npub in npubs if (bundle := self._bundle_of(npub)) is not None]

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

    def _writing_key(self) -> EpochKey:
        if not self.may_write(self._me.npub):
            raise Refused("restricted", "This device's role reads only; it may not write to the team.")
        return self.keys.held(self._writing())

    def shorten_note(self, event: Event) -> bytes | None:
        """A note of up to 900 bytes without what follows from the rest, to be sealed; None for others."""
        try:
            return short.shorten(event, self._key_for(event))
        except Refused:
            return None

    def lengthen_note(self, data: bytes) -> Event | None:
        """The event again; that it is what its author signed is for its storing to check."""

        def epoch_of(kid: str, npub: str) -> EpochKey | None:
            try:
                return self._key_of(kid, npub)
            except Refused:
                return None

        return short.lengthen(data, epoch_of)

    def _key_for(self, event: Event) -> EpochKey:
        """The key an event is sealed under, if its author could write in that epoch. Raises Refused."""
        return self._key_of(key_id(event), event.pubkey)

    def _key_of(self, kid: str, author: str) -> EpochKey:
        record = next((r for r in self._roster.epochs() if r.kid == kid), None)
        if record is None or not self.keys.holds(record):
            raise Refused("restricted", "This device has no key for it.")
        if not self._roster.could_write(author, record):
            raise Refused("restricted", "Its author may not write to the team.")
        return self.keys.held(record)


def _clip(name: str) -> str:
    return name.strip()[:MAX_NAME] or "unnamed"
