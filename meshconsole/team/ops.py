"""What a roster entry may say: its operations, their bounds, and the roles. Pure.

An operation that is not in this list, a field that is not in its struct, or a value beyond its
bound makes the whole entry invalid (fail closed): a device that does not understand an entry must
not guess what the team has decided.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Role = Literal["root", "admin", "member", "observer", "relay", "client", "client-observer"]
GivenRole = Literal["admin", "member", "observer", "relay"]
"""Roles that an entry may give. The root key is named once, in the genesis, and never changes."""

MAX_NAME = 64
"""Characters in the name of a team or of a device."""
MAX_OPS = 256
MAX_PARENTS = 16
MAX_LINKS = 8
MAX_MEMBERS = 512
"""Devices and plain clients that belong at one time."""
MAX_ENTRIES_BY_AUTHOR = 1000
"""Entries by one author in the past of another one of his; no admin can use up the others' room."""

Hex32 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
"""32 bytes as 64 lowercase hex characters: an npub, an event id, a hash."""
KeyId = Annotated[str, Meta(pattern=r"\A[0-9a-f]{16}\Z")]
Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
Sealed = Annotated[str, Meta(min_length=4, max_length=256, pattern=r"\A[A-Za-z0-9+/]+={0,2}\Z")]
"""A short sealed box in base64."""

ClientRole = Literal["member", "observer"]
"""What a plain client may do at a relay of the team: publish and read, or read only."""
CLIENTS = frozenset({"client", "client-observer"})
"""What plain clients are in the roster; no device has such a role."""

LEVEL: dict[str, int] = {
    "removed": 0,
    "client-observer": 1,
    "client": 2,
    "relay": 3,
    "observer": 4,
    "member": 5,
    "admin": 6,
}
"""Of two concurrent statements about one key the lower one holds."""
READS = frozenset({"observer", "member", "admin"})
"""Roles that are granted the epoch's key."""
WRITES = frozenset({"member", "admin"})
GOVERNS = frozenset({"root", "admin"})
"""Roles whose entries count."""

History = Literal["full", "joining"]


class Op(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="op"):
    pass


class RootKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The offline key that outranks every admin. It holds no epoch key."""

    npub: Hex32
    bundle: Hex32


class Found(Op, frozen=True, tag="found"):
    """First operation of the genesis, and only there."""

    name: Name
    root: RootKey | None = None


class Add(Op, frozen=True, tag="add"):
    """Admits a device. `bundle` is the hash of its key bundle, `name` is for people only."""

    npub: Hex32
    name: Name
    role: GivenRole
    bundle: Hex32
    replaces: Hex32 | None = None
    """The lost device of the same person, which this entry removes: one member, a new key."""
    person: Hex32 | None = None
    """Another device of the same person. Two devices of one person are never two admins who agree."""


class Remove(Op, frozen=True, tag="remove"):
    npub: Hex32


class SetRole(Op, frozen=True, tag="role"):
    npub: Hex32
    role: GivenRole


class EpochLink(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An earlier epoch's secret, sealed for the holders of the later one."""

    kid: KeyId
    sealed: Sealed


class NewEpoch(Op, frozen=True, tag="epoch"):
    """Commits to the next epoch's secret; nobody can hand out another one under its number."""

    n: Annotated[int, Meta(ge=1, le=1 << 31)]
    commit: Hex32
    links: Annotated[tuple[EpochLink, ...], Meta(max_length=MAX_LINKS)] = ()


class Policy(Op, frozen=True, tag="policy"):
    """Team-wide rules; how they are applied is in `rules.py`. None leaves a rule as it is."""

    history: History | None = None
    """Whether newcomers can read what was written before them."""
    rotate_days: Annotated[int, Meta(ge=1, le=3650)] | None = None
    """The team's key is turned when it is older."""
    plain_messages: bool | None = None
    """Messages to plain Nostr clients (NIP-17), which are not post-quantum, may be sent and shown."""
    share_with_team_only: bool | None = None
    """As [privacy] share_with_team_only, on every node."""
    require_authentication: bool | None = None
    """As [privacy] require_authentication, on every node."""
    allow_public_discovery: bool | None = None
    """Off: no node tells strangers where its relay answers, whatever its owner allowed."""
    max_event_bytes: Annotated[int, Meta(ge=1024, le=1 << 20)] | None = None
    """The largest event that plain clients may publish."""
    min_replicas: Annotated[int, Meta(ge=1, le=100)] | None = None
    """Copies of each pinned file that the team wants at least."""
    max_file_mb: Annotated[int, Meta(ge=1, le=1 << 20)] | None = None
    """The largest file (10^6 bytes) that a device adds."""
    two_admins: bool | None = None
    """Whatever gives rights counts only when a second admin has agreed (`agreement.py`)."""


class AdmitClient(Op, frozen=True, tag="client"):
    """Admits a plain Nostr key, as of a member's phone: it may use the team's relays, after NIP-42. It
    holds no key of the team and is not post-quantum. `Remove` ends it like a device."""

    npub: Hex32
    name: Name
    role: ClientRole


class Refuse(Op, frozen=True, tag="refuse"):
    """Closes a proposal: no entry that this one does not know of can be carried out by it."""

    proposal: Hex32


AnyOp = Found | Add | Remove | SetRole | NewEpoch | Policy | AdmitClient | Refuse


class Consent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The other admin's signatures over what an entry gives: all of the proposal's event that the entry
    does not say itself (`proposals.py`)."""

    npub: Hex32
    epoch: Annotated[int, Meta(ge=1, le=1 << 31)]
    created_at: Annotated[int, Meta(ge=0, lt=1 << 53)]
    pqsig: Annotated[str, Meta(max_length=8192)]
    sig: Annotated[str, Meta(pattern=r"\A[0-9a-f]{128}\Z")]


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The content of a roster entry event."""

    v: Literal[1]
    suite: Annotated[int, Meta(ge=1, le=255)]
    parents: Annotated[tuple[Hex32, ...], Meta(max_length=MAX_PARENTS)]
    ops: Annotated[tuple[AnyOp, ...], Meta(min_length=1, max_length=MAX_OPS)]
    second: Consent | None = None
