"""COUNT (NIP-45). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.errors import Refused
from meshconsole.relay.verbs.asking import read_id

if TYPE_CHECKING:
    import msgspec

    from meshconsole.relay.happening import Happening
    from meshconsole.relay.session import Session


def take(session: Session, parts: list[msgspec.Raw], now: float) -> list[Happening]:
    identifier = read_id(session, "COUNT", parts)
    if identifier is not None:
        session.refuse("COUNT", identifier, Refused("unsupported", "COUNT is not offered here"))
    return []
