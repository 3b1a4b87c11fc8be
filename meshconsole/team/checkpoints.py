"""Checkpoints: what a device vouches for having accepted, signed with both signatures. Pure.

A device numbers its checkpoints and names in each one the head of its audit log and the root of a
Merkle tree (RFC 9162 section 2.1.1, SHA-256) over the ids of the events it took in since the one
before. Teammates keep them: a device whose database or log was set back to an earlier day is told by
its own signature, which others still hold.

Which ones are kept follows from their numbers alone, so that every device keeps the same and it does
not matter in which order they come: of the last few all, then every second, every fourth, and so on.
A device that was set back by m checkpoints has signed one of those m that stays provable until it has
signed m more; some 2 log2(n) of them are kept of each device, however old it grows.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from meshconsole.core.errors import Refused
from meshconsole.core.kinds import CHECKPOINT
from meshconsole.crypto.hybrid import verify_control
from meshconsole.team.ops import Hex32  # noqa: TC001 - msgspec reads the annotations

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from meshconsole.core.event import Event
    from meshconsole.crypto.bundle import KeyBundle
    from meshconsole.crypto.identity import Identity
    from meshconsole.crypto.provider import Provider

CONTEXT = b"mc/checkpoint/v1"
MAX_CONTENT = 1024
WINDOW = 4
"""A checkpoint whose number is a multiple of 2^k is kept until 4 * 2^k more are signed."""
MAX_ALIKE = 2
"""So many of one number are kept, those with the lowest ids: two prove already that a home was set back."""
Count = Annotated[int, Meta(ge=0, lt=1 << 53)]


class Checkpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`events` were taken in since the checkpoint before, up to `head_seq` of the log `log_id`."""

    v: Literal[1]
    n: Annotated[int, Meta(ge=1, lt=1 << 53)]
    audit_seq: Count
    audit_head: Hex32
    log_id: Annotated[str, Meta(max_length=64)]
    head_seq: Count
    events: Count
    root: Hex32


def merkle_root(ids: Sequence[bytes]) -> bytes:
    """The Merkle Tree Hash of RFC 9162 section 2.1.1 over 32-byte event ids."""
    if not ids:
        return sha256(b"").digest()
    level = [sha256(b"\0" + each).digest() for each in ids]
    while len(level) > 1:
        # An odd last node moves up as it is: the same tree as the recursive definition gives.
        pairs = [sha256(b"\1" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[len(pairs) * 2 :]
    return level[0]


def needless(held: Mapping[int, Collection[str]]) -> set[str]:
    """Of one device's checkpoints, ids by number, those that need not be kept. What is needless once stays
    so, whatever comes later."""
    newest = max(held, default=0)
    gone: set[str] = set()
    for n, ids in held.items():
        divisor = n & -n  # the greatest power of two in it
        gone.update(sorted(ids)[MAX_ALIKE:] if newest - n < WINDOW * divisor else ids)
    return gone


def sign_checkpoint(me: Identity, checkpoint: Checkpoint, now: int) -> Event:
    """`now` dates it and decides nothing."""
    content = msgspec.json.encode(checkpoint).decode()
    return me.sign_control(CHECKPOINT, (), content, now, CONTEXT)


def read_checkpoint(event: Event) -> Checkpoint:
    """Its shape only. Raises Refused."""
    if len(event.content) > MAX_CONTENT:
        raise Refused("invalid", "That is not a checkpoint: it is too long.")
    try:
        return msgspec.json.decode(event.content, type=Checkpoint)
    except (msgspec.MsgspecError, UnicodeEncodeError) as error:
        raise Refused("invalid", f"That is not a checkpoint: {error}.") from None


def verify_checkpoint(event: Event, author: KeyBundle, provider: Provider) -> Checkpoint:
    """Raises Refused unless the author signed it with both signatures."""
    checkpoint = read_checkpoint(event)
    verify_control(event, author.suite, author.mldsa_public, CONTEXT, provider)
    return checkpoint
