"""What a device knows of its team: roster, key bundles and epoch keys together. Pure.

`accept` takes control events in any order; what lacks its parents or its author's bundle waits. The
same events give the same team on every device. Nothing here decides by time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import msgspec

from meshconsole.core import kinds
from meshconsole.core.errors import Refused
from meshconsole.core.verdict import ACCEPTED, DUPLICATE, Verdict, refuse
from meshconsole.crypto.bundle import fingerprint
from meshconsole.team.agreement import latest_epoch
from meshconsole.team.checkpoints import read_checkpoint
from meshconsole.team.entries import read_entry, team_id
from meshconsole.team.epochs import check_grant, grant_address
from meshconsole.team.holdings import part_number
from meshconsole.team.intake import Bundles, Intake, open_bundles
from meshconsole.team.keyring import Keyring
from meshconsole.team.ops import CLIENTS, LEVEL, READS, WRITES
from meshconsole.team.proposals import ProposalBook
from meshconsole.team.sealed import key_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshconsole.core.event import Event
    from meshconsole.crypto.bundle import KeyBundle
    from meshconsole.crypto.identity import Identity
    from meshconsole.crypto.provider import Provider
    from meshconsole.crypto.suites import Suite
    from meshconsole.team.epochs import EpochKey
    from meshconsole.team.facts import Standing
    from meshconsole.team.proposals import Proposal
    from meshconsole.team.rules import Rules


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


class PlainClient(msgspec.Struct, frozen=True):
    """A plain Nostr key, as of a member's phone, that may use the team's relays. Not post-quantum."""

    npub: str
    name: str
    writes: bool


class Knowledge:
    """Built from control events alone; who may act on it is in `state.Team`."""

    def __init__(self, me: Identity, genesis: Event, bundles: Bundles, provider: Provider) -> None:
        """`bundles` must hold the founder's. Raises Refused for a genesis that does not verify."""
        self._me = me
        self._provider = provider
        self._intake = Intake(genesis, bundles, provider)
        self._roster = self._intake.roster
        self.suite: Suite = self._intake.suite
        self.genesis = genesis
        self.team_id = team_id(genesis.id)
        self.name = self._roster.name
        self.keys = Keyring(me, self.team_id)
        self._proposals = ProposalBook(self.team_id)
        self._members: tuple[Member, ...] | None = None

    @classmethod
    def load(
        cls, me: Identity, events: Iterable[Event], provider: Provider, wanted: bytes | None = None
    ) -> Self | None:
        """The team that `events` hold and that this device was admitted to; None if there is none.

        `wanted` is the id of the team this device belongs to. Anybody can found a team that names a
        stranger; without an id, several such teams raise Refused rather than let the wrong one win.
        """
        by_kind: dict[int, list[Event]] = {kind: [] for kind in kinds.CONTROL_KINDS}
        for event in events:
            if event.kind in by_kind:
                by_kind[event.kind].append(event)
        bundles = open_bundles(by_kind[kinds.KEY_BUNDLE], provider)
        found: list[Self] = []
        for event in by_kind[kinds.ROSTER_ENTRY]:
            if wanted is not None and team_id(event.id) != wanted:
                continue
            team = cls._begun_by(event, me, bundles, provider)
            if team is None:
                continue
            team._intake.take_stored(by_kind[kinds.ROSTER_ENTRY])
            if team.member(me.npub) is not None or team.role_of(me.npub) is not None:
                found.append(team)
        if len(found) > 1:
            names = ", ".join(f"{team.name} ({team.team_id.hex()[:8]})" for team in found)
            raise Refused("invalid", f"The stored events hold several teams that name this device: {names}.")
        for team in found:
            for control in (*by_kind[kinds.EPOCH_GRANT], *by_kind[kinds.PROPOSAL]):
                team.accept(control)
            return team
        return None

    @classmethod
    def _begun_by(cls, event: Event, me: Identity, bundles: Bundles, provider: Provider) -> Self | None:
        try:
            entry, _ = read_entry(event)
            return None if entry.parents else cls(me, event, bundles, provider)
        except Refused:
            return None

    def accept(self, event: Event) -> Verdict:
        """A roster entry, key bundle or grant whose Nostr signature was checked. Order does not matter."""
        try:
            match event.kind:
                case kinds.ROSTER_ENTRY:
                    if event.id in self._intake.entries:
                        return DUPLICATE
                    if self._intake.take_entry(event):
                        self._changed()
                case kinds.KEY_BUNDLE:
                    if self._intake.take_bundle(event):
                        self._changed()
                case kinds.EPOCH_GRANT:
                    check_grant(event, self.suite)
                    self.keys.offer(event, self._roster.epochs())
                case kinds.CHECKPOINT:
                    read_checkpoint(event)
                case kinds.PROPOSAL:
                    self._proposals.offer(event)
                case _:
                    return refuse("invalid", "that is not a control event")
        except Refused as error:
            return Verdict(False, error.code, error.sentence)  # type: ignore[arg-type]
        return ACCEPTED

    def admits(self, event: Event) -> bool:
        """Whether a node of this team stores and passes on an event that its author's Nostr key has signed.
        False for what a later entry may make good. Raises Refused for what none can.

        What has no writer, no admin or no device behind it would travel and stay for ever, though nobody
        opens it."""
        npub = event.pubkey
        match event.kind:
            case kinds.KEY_BUNDLE:
                return self._intake.admits_bundle(event)
            case kinds.ROSTER_ENTRY:
                return self._roster.ever_governed(npub) and self._intake.admits_entry(event)
            case kinds.PROPOSAL:
                return self._roster.ever_governed(npub)
            case kind if kind in kinds.WRITTEN_KINDS:
                return self._roster.may_have_written(npub, key_id(event))
            case kinds.EPOCH_GRANT:
                check_grant(event, self.suite)
                return self._roster.ever_governed(npub) or self._is_own_grant(event)
            case kinds.HOLDINGS:
                part_number(event)
                return self._roster.was_named(npub)
            case kinds.COURIER_RECEIPT:
                return self._roster.was_named(npub)
        return True

    def _is_own_grant(self, event: Event) -> bool:
        """Whether it addresses its author under an epoch that is known, as keys from a backup do."""
        d = event.tag("d")
        return any(d == grant_address(self.team_id, r.kid, event.pubkey) for r in self._roster.epochs())

    def _changed(self) -> None:
        self._members = None
        self.keys.catch_up(self._roster.epochs())

    @property
    def my_role(self) -> str | None:
        return self.role_of(self._me.npub)

    @property
    def has_root_key(self) -> bool:
        return self._roster.state.root is not None

    @property
    def rules(self) -> Rules:
        return self._roster.state.rules

    def members(self) -> tuple[Member, ...]:
        """Every device ever admitted, by role and name; those removed last."""
        if self._members is None:
            standings = self._roster.state.members.values()
            members = [self._member(standing) for standing in standings if standing.bundle]
            members.sort(key=lambda member: (-LEVEL[member.role], member.name, member.npub))
            self._members = tuple(members)
        return self._members

    def member(self, npub: str) -> Member | None:
        return next((member for member in self.members() if member.npub == npub), None)

    def clients(self) -> tuple[PlainClient, ...]:
        """The plain clients that are admitted now, by name."""
        standings = [s for s in self._roster.state.members.values() if s.role in CLIENTS]
        found = [PlainClient(s.npub, s.name, s.role == "client") for s in standings]
        return tuple(sorted(found, key=lambda client: (client.name, client.npub)))

    def role_of(self, npub: str) -> str | None:
        role = self._roster.state.role_of(npub)
        return None if role == "removed" else role

    def may_write(self, npub: str) -> bool:
        return self.role_of(npub) in WRITES

    def may_read(self, npub: str) -> bool:
        return self.role_of(npub) in READS

    def may_publish(self, npub: str) -> bool:
        """At the team's relays, by the proof of NIP-42 alone."""
        return self.may_write(npub) or self.role_of(npub) == "client"

    def may_query(self, npub: str) -> bool:
        """At the team's relays, by the proof of NIP-42 alone."""
        return self.may_read(npub) or self.role_of(npub) in CLIENTS

    def device_for_key(self, mldsa_public: bytes) -> Member | None:
        """The device with a live role that holds this key; for pinning links."""
        for member in (*self.members(), *self._root_member()):
            if not member.removed and member.mldsa_public and member.mldsa_public == mldsa_public:
                return member
        return None

    def control_events(self) -> list[Event]:
        """Everything a joining device needs besides its own grant: bundles, then entries in causal order."""
        return self._intake.bundle_events() + list(self._intake.entries.values())

    def _root_member(self) -> tuple[Member, ...]:
        root = self._roster.state.root
        if root is None:
            return ()
        digest = bytes.fromhex(root.bundle)
        bundle = self._intake.bundle(root.npub, root.bundle)
        public = bundle.mldsa_public if bundle else b""
        return (Member(root.npub, "root key", "root", digest, public, fingerprint(digest), removed=False),)

    def epochs_held(self) -> tuple[EpochKey, ...]:
        """Every epoch key that this device has, the oldest first; for a backup."""
        held = [self.keys.held(record) for record in self._roster.epochs() if self.keys.holds(record)]
        return tuple(sorted(held, key=lambda key: (key.n, key.commit)))

    def proposals(self) -> tuple[Proposal, ...]:
        """What admins have proposed and a second one may still agree to, the oldest first."""
        epoch = latest_epoch(self._roster.state)
        return tuple(p for p in self._pending() if p.epoch == epoch)

    def proposal(self, proposal_id: str) -> Proposal | None:
        """One that was heard of lately, open or not."""
        return self._proposals.get(proposal_id)

    def agreed_by(self, proposal: Proposal) -> str:
        """The npub of who carried it out, "" for nobody."""
        return self._roster.agreed_by(proposal.id)

    def refused_by(self, proposal: Proposal) -> str:
        """The npub of who refused it, "" where it ended because the key was turned."""
        return self._roster.refused_by(proposal.id, proposal.epoch)

    def _pending(self) -> list[Proposal]:
        """By admins, and neither carried out nor refused; those of earlier epochs too."""
        state = self._roster.state
        return [
            p
            for p in self._proposals.signed(self.bundle_of, self.suite, self._provider)
            if (standing := state.members.get(p.npub)) is not None
            and standing.role == "admin"
            and not self._roster.is_closed(p.id)
            and not self._roster.is_carried_out(p.id)
        ]

    @property
    def epoch(self) -> int:
        """The number of the epoch that is written under."""
        return self._roster.epochs_to_write()[0][0].n

    @property
    def rotation_due(self) -> bool:
        """Whether every epoch's key may be held by somebody who may not read any more."""
        return not self._roster.epochs_to_write()[0][1]

    @property
    def entries_known(self) -> int:
        """How many roster entries are here; it never falls."""
        return len(self._roster)

    def bundle_of(self, npub: str) -> KeyBundle | None:
        """The keys of a device that belongs or belonged; None while they are not here."""
        standing = self._roster.state.members.get(npub)
        return None if standing is None or not standing.bundle else self._bundle_of(npub)

    def _bundle_of(self, npub: str) -> KeyBundle | None:
        return self._intake.bundle(npub, self._roster.state.members[npub].bundle)

    def _name_of(self, npub: str) -> str:
        member = self.member(npub)
        return member.name if member else npub[:8]

    def _member(self, standing: Standing) -> Member:
        digest = bytes.fromhex(standing.bundle)
        bundle = self._intake.bundle(standing.npub, standing.bundle)
        return Member(
            standing.npub,
            standing.name,
            standing.role,
            digest,
            bundle.mldsa_public if bundle else b"",
            fingerprint(digest),
            standing.role == "removed",
        )
