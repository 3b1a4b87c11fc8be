"""Proposals: what one admin asks a second one to agree to, and the consent inside an entry. Pure.

A proposal is an event of its own, signed twice like an entry: the operations, the team, and the epoch in
which it was made and in which alone it can be carried out. Whoever agrees writes the entry, with the same
operations, perhaps a new epoch and the end of other proposals, and the proposer's signatures
(`ops.Consent`): from these the proposal's event is put together again and verified, whether or not
anybody ever saw it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from meshconsole.core.errors import Refused
from meshconsole.core.event import Event, event_id
from meshconsole.core.kinds import PROPOSAL
from meshconsole.crypto.hybrid import verify_control
from meshconsole.crypto.suites import HYBRID_TAG
from meshconsole.team.agreement import Approval
from meshconsole.team.ops import MAX_OPS, AnyOp, Consent, Found, Hex32, NewEpoch, Refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from meshconsole.crypto.bundle import KeyBundle
    from meshconsole.crypto.identity import Identity
    from meshconsole.crypto.provider import Provider
    from meshconsole.crypto.suites import Suite

CONTEXT = b"mc/proposal/v1"
MAX_CONTENT = 40_000
NOT_PROPOSED = (Found, NewEpoch, Refuse)
MAX_HELD = 256
MAX_HELD_BY_AUTHOR = 64
"""Of those that are remembered; the oldest goes first."""


class Terms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a proposal."""

    v: Literal[1]
    suite: Annotated[int, Meta(ge=1, le=255)]
    team: Hex32
    epoch: Annotated[int, Meta(ge=1, le=1 << 31)]
    ops: Annotated[tuple[AnyOp, ...], Meta(min_length=1, max_length=MAX_OPS)]


class Proposal(msgspec.Struct, frozen=True):
    """One whose shape is right. `npub` proposes it; `id` is its event's."""

    id: str
    npub: str
    epoch: int
    ops: tuple[AnyOp, ...]
    consent: Consent
    event: Event


def propose(author: Identity, team: bytes, epoch: int, ops: Iterable[AnyOp], now: int) -> Event:
    terms = Terms(1, author.suite.id, team.hex(), epoch, tuple(ops))
    return author.sign_control(PROPOSAL, (), msgspec.json.encode(terms).decode(), now, CONTEXT)


def read_proposal(event: Event, team: bytes) -> Proposal:
    """Signatures are not looked at. Raises Refused."""
    if event.kind != PROPOSAL or len(event.content) > MAX_CONTENT:
        raise Refused("invalid", "That is not a proposal.")
    if len(event.tags) != 1 or len(event.tags[0]) != 3 or event.tags[0][0] != HYBRID_TAG:
        raise Refused("invalid", "A proposal has its signature as its only tag.")
    try:
        raw = event.content.encode()
        terms = msgspec.json.decode(raw, type=Terms)
        consent = Consent(event.pubkey, terms.epoch, event.created_at, event.tags[0][2], event.sig)
        msgspec.json.decode(msgspec.json.encode(consent), type=Consent)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise Refused("invalid", "The proposal is malformed, or of a newer kind.") from None
    if msgspec.json.encode(terms) != raw or any(
        isinstance(op, Found | NewEpoch | Refuse) for op in terms.ops
    ):
        raise Refused("invalid", "The proposal is not in its one canonical form.")
    if terms.team != team.hex():
        raise Refused("invalid", "The proposal is another team's.")
    return Proposal(event.id, event.pubkey, terms.epoch, terms.ops, consent, event)


def approval_in(consent: Consent, suite: int, team: bytes, ops: Iterable[AnyOp]) -> Approval:
    """The consent that an entry with these operations carries; not verified yet."""
    proposed = tuple(op for op in ops if not isinstance(op, NewEpoch | Refuse))
    content = msgspec.json.encode(Terms(1, suite, team.hex(), consent.epoch, proposed)).decode()
    tags = ((HYBRID_TAG, str(suite), consent.pqsig),)
    digest = event_id(consent.npub, consent.created_at, PROPOSAL, tags, content).hex()
    event = Event(digest, consent.npub, consent.created_at, PROPOSAL, tags, content, consent.sig)
    return Approval(consent.npub, consent.epoch, digest, event)


def verify_proposal(event: Event, bundle: KeyBundle, suite: Suite, provider: Provider) -> None:
    """Both signatures. Raises Refused."""
    if bundle.suite.id != suite.id:
        raise Refused("invalid", "The proposal is signed for another suite than the team's.")
    verify_control(event, suite, bundle.mldsa_public, CONTEXT, provider)


class ProposalBook:
    """The proposals that were heard of, by id. Anybody in the team may send some: they are judged when
    they are looked at."""

    def __init__(self, team: bytes) -> None:
        self._team = team
        self._held: dict[str, Proposal] = {}
        self._judged: dict[str, bool] = {}

    def offer(self, event: Event) -> None:
        """Raises Refused for what is none."""
        proposal = read_proposal(event, self._team)
        if proposal.id in self._held:
            return
        self._held[proposal.id] = proposal
        by_author = [known.id for known in self._held.values() if known.npub == proposal.npub]
        for too_many in (by_author[:-MAX_HELD_BY_AUTHOR], list(self._held)[:-MAX_HELD]):
            for known in too_many:
                self._held.pop(known, None)
                self._judged.pop(known, None)

    def get(self, proposal_id: str) -> Proposal | None:
        return self._held.get(proposal_id)

    def signed(
        self, bundle_of: Callable[[str], KeyBundle | None], suite: Suite, provider: Provider
    ) -> list[Proposal]:
        """Those whose signatures are right, the oldest first. `bundle_of` gives an admin's keys."""
        found = []
        for proposal in self._held.values():
            bundle = bundle_of(proposal.npub)
            if bundle is None:
                continue
            if proposal.id not in self._judged:
                self._judged[proposal.id] = _is_signed(proposal.event, bundle, suite, provider)
            if self._judged[proposal.id]:
                found.append(proposal)
        return sorted(found, key=lambda proposal: (proposal.consent.created_at, proposal.id))


def _is_signed(event: Event, bundle: KeyBundle, suite: Suite, provider: Provider) -> bool:
    try:
        verify_proposal(event, bundle, suite, provider)
    except Refused:
        return False
    return True
