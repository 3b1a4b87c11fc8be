"""COUNT (NIP-45): how many events match any of the filters. Pure.

A count passes the same gates as a REQ and counts what a REQ would give, whatever the filters' limits.
Its id is no subscription: it neither replaces one nor is it closed.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING

from meshconsole.core.errors import Refused
from meshconsole.relay.event import is_hex
from meshconsole.relay.happening import Counting, Happening
from meshconsole.relay.verbs.asking import ask, read_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    import msgspec

    from meshconsole.relay.filter import Filter
    from meshconsole.relay.session import Session


def take(session: Session, parts: list[msgspec.Raw], now: float) -> list[Happening]:
    identifier = read_id(session, "COUNT", parts)
    if identifier is None:
        return []
    try:
        filters = ask(session, "COUNT", parts[2:], now)
    except Refused as refused:
        session.refuse("COUNT", identifier, refused)
        return []
    session.counting += 1
    return [Counting(session, identifier, filters)]


def register_offset(filters: Sequence[Filter]) -> int | None:
    """Which byte of an author's key names its register (NIP-45, HyperLogLog), where that is defined: one
    filter whose first tag attribute has one value. A set of values has no first one."""
    if len(filters) != 1 or not filters[0].tags or len(filters[0].tags[0][1]) != 1:
        return None
    (value,) = filters[0].tags[0][1]
    if is_hex(value, 64):
        digits = value
    elif (address := _address(value)) is not None:
        digits = address[1]
    else:
        digits = sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
    return int(digits[32], 16) + 8


_address = re.compile(r"[0-9]{1,5}:([0-9a-f]{64}):").match
