"""Event kinds that meshconsole gives a meaning to, and their names in words. Pure.

The numbers from 4201, 24201 and 34202 on are meshconsole's own (docs/protocol.md).
"""

from __future__ import annotations

METADATA = 0
TEXT_NOTE = 1
DELETION = 5
REPOST = 6
SEAL = 13
CHAT_MESSAGE = 14
GENERIC_REPOST = 16
VANISH = 62
GIFT_WRAP = 1059
REPORT = 1984
RELAY_LIST = 10002
PRIVATE_RELAY_LIST = 10013
INBOX_RELAY_LIST = 10050
EPHEMERAL_GIFT_WRAP = 21059
MEMBER_ADDED = 8000
MEMBER_REMOVED = 8001
MEMBERS = 13534
JOIN_REQUEST = 28934
RELAY_INVITE = 28935
LEAVE_REQUEST = 28936
ROLE = 33534
CLIENT_AUTH = 22242
HTTP_AUTH = 27235

GATED_KINDS = frozenset({GIFT_WRAP, EPHEMERAL_GIFT_WRAP})
"""NIP-59 wraps: only those whom a `p` tag names learn that they exist."""

MEMBERSHIP_KINDS = frozenset({MEMBER_ADDED, MEMBER_REMOVED, MEMBERS, RELAY_INVITE, ROLE})
"""NIP-43: what a relay tells of its members. Its own key signs them, and no other relay carries them."""

ROSTER_ENTRY = 4201
TEAM_NOTE = 4202
FILE_MANIFEST = 4203
CHECKPOINT = 4204
KEY_BUNDLE = 4205
DIRECT_MESSAGE = 4206
PROPOSAL = 4207
COURIER_RECEIPT = 4208
ROLL_CALL = 4209
"""Only ever inside of a sealed TEAM_NOTE."""
SIGNAL = 24201
EPOCH_GRANT = 34202
HOLDINGS = 34203

CONTROL_KINDS = frozenset({ROSTER_ENTRY, KEY_BUNDLE, EPOCH_GRANT, CHECKPOINT, PROPOSAL})
"""What makes a team: replicated first, evicted last, never deleted. All but grants are signed twice."""

TEAM_KINDS = CONTROL_KINDS | {TEAM_NOTE, FILE_MANIFEST, DIRECT_MESSAGE, SIGNAL, HOLDINGS, COURIER_RECEIPT}
"""Kinds that only enrolled nodes exchange."""

CARRIED_KINDS = frozenset({TEAM_NOTE, FILE_MANIFEST, DIRECT_MESSAGE, SIGNAL})
"""Sealed: these may travel over plain Nostr relays between the team's devices."""

WRITTEN_KINDS = frozenset({TEAM_NOTE, FILE_MANIFEST, DIRECT_MESSAGE})
"""What members say: only devices whose role writes may be the authors."""

_WORDS = {
    METADATA: "profile",
    TEXT_NOTE: "note",
    3: "contacts",
    4: "old DM",
    DELETION: "deletion",
    REPOST: "repost",
    7: "reaction",
    VANISH: "vanish",
    GIFT_WRAP: "gift wrap",
    REPORT: "report",
    RELAY_LIST: "relay list",
    INBOX_RELAY_LIST: "inbox relays",
    EPHEMERAL_GIFT_WRAP: "passing gift wrap",
    CLIENT_AUTH: "auth",
    MEMBER_ADDED: "member added",
    MEMBER_REMOVED: "member removed",
    MEMBERS: "member list",
    JOIN_REQUEST: "join request",
    LEAVE_REQUEST: "leave request",
    ROLE: "role",
    ROSTER_ENTRY: "roster",
    PROPOSAL: "proposal",
    TEAM_NOTE: "team note",
    ROLL_CALL: "roll call",
    FILE_MANIFEST: "file",
    CHECKPOINT: "checkpoint",
    SIGNAL: "signal",
    KEY_BUNDLE: "key bundle",
    DIRECT_MESSAGE: "direct",
    COURIER_RECEIPT: "courier",
    EPOCH_GRANT: "key grant",
    HOLDINGS: "holdings",
    30023: "article",
}


def kind_in_words(kind: int) -> str:
    return _WORDS.get(kind) or f"kind {kind}"
