"""NIP-43: the team's roster as plain Nostr clients can read it. Pure.

It is a mirror and decides nothing: who belongs is in the roster, signed by the team, while these events
are signed by one relay's own key. They are told by this relay only: no other node takes or passes them
on. Nobody becomes a member by a claim: whom a team lets in is signed twice, by an admin's device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from meshconsole.core import kinds
from meshconsole.core.verdict import ACCEPTED, Verdict, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meshconsole.core.event import Event, Tags
    from meshconsole.relay.policy import Client

MAX_LISTED = 4000
"""Members that one event names. NIP-43 does not ask for all of them."""


class Role(NamedTuple):
    label: str
    description: str
    hue: int


ROLES: dict[str, Role] = {
    "admin": Role("admin", "Admits and removes devices, and does what members do.", 0),
    "member": Role("member", "Reads and writes.", 200),
    "observer": Role("observer", "Reads only.", 120),
    "relay": Role("relay", "Carries what it cannot read.", 60),
    "client": Role("client", "Reads and writes with a plain Nostr key.", 280),
    "client-observer": Role("client, reading", "Reads with a plain Nostr key.", 320),
}
"""Those of the roster, devices first; the root key is neither. `hue` is in degrees."""


class Template(NamedTuple):
    """An event but for its time and signature; all of them have no content."""

    kind: int
    tags: Tags


def role_events() -> list[Template]:
    return [
        Template(
            kinds.ROLE,
            (
                ("-",),
                ("d", name),
                ("label", role.label),
                ("description", role.description),
                ("color", str(role.hue)),
                ("order", str(order)),
            ),
        )
        for order, (name, role) in enumerate(ROLES.items(), 1)
    ]


def list_event(members: Mapping[str, str]) -> Template:
    """`members` are public keys with the roles of their devices, "" for guests."""
    named = sorted(members.items())[:MAX_LISTED]
    tags = tuple(("member", npub, role) if role else ("member", npub) for npub, role in named)
    return Template(kinds.MEMBERS, (("-",), *tags))


def listed(event: Event) -> dict[str, str]:
    """What `list_event` put in."""
    return {tag[1]: tag[2] if len(tag) > 2 else "" for tag in event.tags if tag[0] == "member"}


def change_events(before: Mapping[str, str], after: Mapping[str, str]) -> list[Template]:
    added = [(kinds.MEMBER_ADDED, npub) for npub in sorted(after.keys() - before.keys())]
    removed = [(kinds.MEMBER_REMOVED, npub) for npub in sorted(before.keys() - after.keys())]
    return [Template(kind, (("-",), ("p", npub))) for kind, npub in (*added, *removed)]


# --- Rules for what clients send ---------------------------------------------------------------------


def only_this_relay_tells_of_members(event: Event, client: Client, now: float) -> Verdict:
    if event.kind not in kinds.MEMBERSHIP_KINDS or event.pubkey == client.house.npub:
        return ACCEPTED
    return refuse("restricted", "only a relay itself tells who its members are")


def nobody_joins_by_a_claim(event: Event, client: Client, now: float) -> Verdict:
    if event.kind != kinds.JOIN_REQUEST:
        return ACCEPTED
    house = client.house
    belongs = house.access.may_read((event.pubkey,)).accepted and not house.access.public()
    if belongs or house.lists().allows((event.pubkey,)):
        return Verdict(True, "duplicate", "you are already a member of this relay")
    return refuse(
        "restricted",
        "an admin lets a Nostr key in ('meshconsole team client add'), and a device joins with an invite and "
        "keys of its own ('meshconsole team join'); a claim does neither",
    )


def nobody_leaves_by_an_event(event: Event, client: Client, now: float) -> Verdict:
    if event.kind != kinds.LEAVE_REQUEST:
        return ACCEPTED
    return refuse(
        "restricted", "ask an admin: whoever belongs is removed in the team's roster, on a device of theirs"
    )
