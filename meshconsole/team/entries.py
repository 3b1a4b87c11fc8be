"""Roster entries as events: built, read and verified. Pure.

An entry is a regular event (never replaceable: no relay can roll it back) whose content is the
compact JSON of `ops.Body`, in exactly the form this module writes. Its one tag is the hybrid signature:
any other could make relays treat entries unlike (NIP-40 would let one expire on some of them).
"""

from __future__ import annotations

from hashlib import sha512
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import Refused
from meshconsole.core.kinds import ROSTER_ENTRY
from meshconsole.crypto.encoding import lp
from meshconsole.crypto.hybrid import verify_control
from meshconsole.crypto.suites import suite_by_id
from meshconsole.team.entering import Entry
from meshconsole.team.ops import AnyOp, Body, Consent
from meshconsole.team.proposals import approval_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshconsole.core.event import Event
    from meshconsole.crypto.bundle import KeyBundle
    from meshconsole.crypto.identity import Identity
    from meshconsole.crypto.provider import Provider
    from meshconsole.crypto.suites import Suite

CONTEXT = b"mc/roster/v1"
MAX_CONTENT = 60_000
"""Characters; with its signatures an entry stays below the 64 KiB that relays commonly take."""


def make_entry(
    author: Identity,
    parents: Iterable[str],
    ops: Iterable[AnyOp],
    now: int,
    second: Consent | None = None,
) -> Event:
    body = Body(1, author.suite.id, tuple(sorted(parents)), tuple(ops), second)
    return author.sign_control(ROSTER_ENTRY, (), msgspec.json.encode(body).decode(), now, CONTEXT)


def read_entry(event: Event, team: bytes = b"") -> tuple[Entry, Suite]:
    """The entry and the suite it names; signatures are not looked at. `team` is the id of the team that it
    is read for; a genesis needs none. Raises Refused."""
    if event.kind != ROSTER_ENTRY or len(event.content) > MAX_CONTENT:
        raise Refused("invalid", "That is not a roster entry.")
    if len(event.tags) != 1:
        raise Refused("invalid", "A roster entry has its signature as its only tag.")
    try:
        raw = event.content.encode()
        body = msgspec.json.decode(raw, type=Body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise Refused("invalid", "The roster entry is malformed, or of a newer kind.") from None
    if msgspec.json.encode(body) != raw or list(body.parents) != sorted(set(body.parents)):
        raise Refused("invalid", "The roster entry is not in its one canonical form.")
    second = approval_in(body.second, body.suite, team, body.ops) if body.second else None
    return Entry(event.id, event.pubkey, body.parents, body.ops, second), suite_by_id(body.suite)


def verify_entry(event: Event, bundle: KeyBundle, suite: Suite, provider: Provider) -> None:
    """Both signatures, under the author's own bundle and the team's suite. Raises Refused."""
    if bundle.suite.id != suite.id:
        raise Refused("invalid", "The roster entry is signed for another suite than the team's.")
    verify_control(event, suite, bundle.mldsa_public, CONTEXT, provider)


def team_id(genesis_id: str) -> bytes:
    """32 bytes, from the id of the genesis event."""
    return sha512(lp("mc/team/v1", bytes.fromhex(genesis_id))).digest()[:32]
