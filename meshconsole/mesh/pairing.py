"""Which of two links between the same two devices survives. Pure.

Both devices dial, so two links come up at once now and then; a device that was restarted or moved dials
while its peer still holds the old link. Both sides must come to the same answer without asking:

1. A link that one side has lost already, or has heard nothing on for SUSPECT_S, gives way, whatever the
   other believes: a Hello of the newer link names it in `dropped`, or comes from another boot of the peer.
2. Otherwise, of two links dialled by different sides, the one dialled by the lower npub survives.
3. Otherwise the one with the lower link id, which both sides know.
"""

from __future__ import annotations

from typing import NamedTuple


class LinkFacts(NamedTuple):
    """What the rule needs to know of a link, as one of the two sides sees it."""

    id: bytes
    dialled: bool
    """By this side."""
    boot: bytes
    """The peer's, from its Hello."""
    dropped: tuple[bytes, ...]
    """Links that either side's Hello names as lost or silent."""


def keeps_newer(older: LinkFacts, newer: LinkFacts, me: str, peer: str) -> bool:
    """True if the link that came up last replaces the other. `me` and `peer` are npubs."""
    if newer.boot != older.boot or older.id in newer.dropped:
        return True
    if newer.id in older.dropped:
        return False
    if older.dialled != newer.dialled:
        return newer.dialled == (me < peer)
    return newer.id < older.id
