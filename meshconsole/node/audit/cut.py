"""The signed beginning of an audit log that was shortened: which record stood last before it. Pure.

It is signed like a checkpoint, under a context of its own: it is no checkpoint, and none is a cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from meshconsole.core.errors import Refused
from meshconsole.core.kinds import CHECKPOINT
from meshconsole.crypto.hybrid import verify_control
from meshconsole.team.ops import Hex32  # noqa: TC001 - msgspec reads the annotations

if TYPE_CHECKING:
    from meshconsole.core.event import Event
    from meshconsole.crypto.bundle import KeyBundle
    from meshconsole.crypto.identity import Identity
    from meshconsole.crypto.provider import Provider

CONTEXT = b"mc/audit-cut/v1"
MAX_CONTENT = 256


class Cut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The records up to `seq`, whose digest is `head`, were let go."""

    v: Literal[1]
    seq: Annotated[int, Meta(ge=1, lt=1 << 53)]
    head: Hex32


def sign_cut(me: Identity, seq: int, head: str, now: int) -> Event:
    """`now` dates it and decides nothing."""
    content = msgspec.json.encode(Cut(1, seq, head)).decode()
    return me.sign_control(CHECKPOINT, (), content, now, CONTEXT)


def read_cut(event: Event) -> Cut:
    """Its shape only. Raises Refused."""
    if len(event.content) > MAX_CONTENT:
        raise Refused("invalid", "That is not the beginning of an audit log: it is too long.")
    try:
        return msgspec.json.decode(event.content, type=Cut)
    except (msgspec.MsgspecError, UnicodeEncodeError) as error:
        raise Refused("invalid", f"That is not the beginning of an audit log: {error}.") from None


def verify_cut(event: Event, author: KeyBundle, provider: Provider) -> Cut:
    """Raises Refused unless the device signed it with both signatures."""
    cut = read_cut(event)
    if event.pubkey != author.npub:
        raise Refused("invalid", "The beginning of the audit log is signed by another device.")
    verify_control(event, author.suite, author.mldsa_public, CONTEXT, provider)
    return cut
