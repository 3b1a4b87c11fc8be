"""What all messages of the control socket are made of: their base and the bounds of their fields. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Text = Annotated[str, Meta(max_length=65_536)]
AbsolutePath = Annotated[str, Meta(min_length=1, max_length=4096)]
"""An absolute path on the machine of the node; the node's rights decide what it may open."""
Cid = Annotated[str, Meta(min_length=1, max_length=256)]
MAX_LISTED = 10_000
"""Most rows that one answer carries."""
RequestId = Annotated[int, Meta(ge=0, lt=1 << 53)]
Role = Literal["admin", "member", "observer", "relay"]
ClientRole = Literal["member", "observer"]


class Message(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Base of everything that is told apart by its tag."""
