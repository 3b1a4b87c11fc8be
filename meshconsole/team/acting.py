"""How a device acts on its team: an entry of its own, the new epoch and the grants it brings, or the
proposal that a second admin must agree to. Pure.

What there is to do is in `state.py`. Each act applies at once to what is known here and returns the events
to publish.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.errors import LocalError, Refused
from meshconsole.team.agreement import gives_rights, latest_epoch
from meshconsole.team.entries import make_entry
from meshconsole.team.epochs import EpochKey, grant_event
from meshconsole.team.knowledge import Knowledge
from meshconsole.team.ops import MAX_LINKS, READS, WRITES, Add, EpochLink, NewEpoch, Refuse, Remove, SetRole
from meshconsole.team.proposals import propose

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshconsole.core.event import Event
    from meshconsole.team.facts import EpochRecord
    from meshconsole.team.ops import AnyOp, Consent
    from meshconsole.team.proposals import Proposal

MAX_CLOSED = 64
"""Proposals that one entry closes."""


class Acting(Knowledge):
    def _carry_out(self, ops: list[AnyOp], now: int, agreed: Proposal | None = None) -> list[Event]:
        """What `ops` say, done: with a new epoch where it needs one, and with grants for whom it lets read.
        Where a second admin must agree and has not (`agreed`), it is proposed instead."""
        self._must_govern()
        state = self._roster.state
        if (
            agreed is None
            and state.rules.two_admins
            and self.my_role != "root"
            and gives_rights(tuple(ops), state)
        ):
            return self._propose(ops, now)
        if self._must_turn(ops):
            return self._amend_and_rotate(ops, now, agreed=agreed)
        let_in = [
            op.npub
            for op in ops
            if isinstance(op, Add | SetRole) and op.role in READS and not self.may_read(op.npub)
        ]
        if let_in:
            self._writing()  # before somebody is let in: this device has a key to give
        events = self._amend(ops, now, second=agreed.consent if agreed else None)
        return [*events, *self._grants_for_writing(let_in, now)]

    def _must_turn(self, ops: list[AnyOp]) -> bool:
        """Whether the team's key has to be another one afterwards."""
        joining = self._roster.state.rules.history == "joining"
        for op in ops:
            if isinstance(op, Remove) or (isinstance(op, Add) and op.role in READS and joining):
                return True
            if isinstance(op, SetRole):
                before = self.role_of(op.npub)
                if any(before in right and op.role not in right for right in (READS, WRITES)):
                    return True
        return False

    def _propose(self, ops: list[AnyOp], now: int) -> list[Event]:
        """The proposal; the one that there is, where this device has proposed the same."""
        for known in self.proposals():
            if known.npub == self._me.npub and known.ops == tuple(ops):
                return [known.event]
        event = propose(self._me, self.team_id, latest_epoch(self._roster.state), ops, now)
        verdict = self.accept(event)
        if not verdict.accepted:
            raise Refused(verdict.code, verdict.sentence)
        return [event]

    def _proposal(self, beginning: str) -> Proposal:
        found = [proposal for proposal in self.proposals() if proposal.id.startswith(beginning.lower())]
        if len(found) != 1:
            raise Refused(
                "invalid",
                f"{len(found) or 'No'} open proposals begin with {beginning[:16]}.",
                hint="See: meshconsole team proposals",
            )
        return found[0]

    def _lapsed(self) -> list[Proposal]:
        """Those of earlier epochs that nobody has closed."""
        epoch = latest_epoch(self._roster.state)
        return [proposal for proposal in self._pending() if proposal.epoch < epoch]

    def _amend(
        self, ops: list[AnyOp], now: int, disown: Iterable[str] = (), second: Consent | None = None
    ) -> list[Event]:
        event = make_entry(self._me, self._roster.heads_without(disown), ops, now, second)
        verdict = self.accept(event)
        if not verdict.accepted:
            raise Refused(verdict.code, verdict.sentence)
        return [event]

    def _amend_and_rotate(
        self, ops: list[AnyOp], now: int, disown: Iterable[str] = (), agreed: Proposal | None = None
    ) -> list[Event]:
        self._must_govern()
        disown = tuple(disown)
        view = self._roster.view(self._roster.heads_without(disown))
        key = EpochKey.fresh(self.team_id, 1 + latest_epoch(view))
        # Proposals end with the epoch. Said here, they are void even where somebody dates them back.
        ended = [Refuse(p.id) for p in self._pending() if agreed is None or p.id != agreed.id]
        links: tuple[EpochLink, ...] = ()
        if self._roster.state.rules.history == "full":
            links = tuple(EpochLink(old.kid, key.seal_link(old)) for old in self._unlinked())
        self.keys.add(key)
        events = self._amend(
            [*ops, *ended[:MAX_CLOSED], NewEpoch(key.n, key.commit, links)],
            now,
            disown,
            agreed.consent if agreed else None,
        )
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

    def _grants_for_writing(self, npubs: list[str], now: int) -> list[Event]:
        readers = [npub for npub in npubs if self.may_read(npub)]
        return self._grants(self.keys.held(self._writing()), readers, now) if readers else []

    def _grants(self, key: EpochKey, npubs: list[str], now: int) -> list[Event]:
        """For those whose bundle is here; the others get theirs from `tend` once it is."""
        events = [self._grant(key, npub, now) for npub in npubs if self._bundle_of(npub) is not None]
        for event in events:
            self.accept(event)
        return events

    def _grant(self, key: EpochKey, npub: str, now: int) -> Event:
        bundle = self._bundle_of(npub)
        if bundle is None:
            raise LocalError("A grant was to be made for a device whose keys are not known.")
        return grant_event(self._me, key, bundle, now, self._provider)

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
