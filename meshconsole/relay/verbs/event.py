"""EVENT (NIP-01): a client offers an event. Pure.

Every event whose id can be read gets exactly one OK: at once from here when a limit or a gate turns
it away, else through `Session.answer` when its fate is known.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from meshconsole.core.verdict import ACCEPTED, Verdict, refuse
from meshconsole.relay.event import claimed_id, readable_id
from meshconsole.relay.happening import Happening, Offered, TurnedAway
from meshconsole.relay.policy import may_offer

if TYPE_CHECKING:
    import msgspec

    from meshconsole.relay.session import Session

NOT_ONE = refuse("invalid", "EVENT takes exactly one event")


def take(session: Session, parts: list[msgspec.Raw], now: float) -> list[Happening]:
    if len(parts) < 2:
        session.complain("EVENT", NOT_ONE)
        return []
    data = bytes(parts[1])
    verdict = _may_offer(session, data, now) if len(parts) == 2 else NOT_ONE
    if verdict.accepted:
        session.offered += 1
        session.offered_bytes += len(data)
        return [Offered(data, claimed_id(data))]
    identifier = readable_id(data)
    session.say(identifier, verdict)
    return [TurnedAway(identifier or "", len(data), verdict)]


def _may_offer(session: Session, data: bytes, now: float) -> Verdict:
    config = session.config
    if not session.events.try_take(1, now):
        return refuse("rate-limited", f"at most {config.events_per_second} events per second")
    if len(data) > config.max_event_bytes and not session.client.trusted:
        return refuse("invalid", f"the event is larger than {config.max_event_bytes} bytes")
    verdict = may_offer(session.client)
    return verdict if verdict.accepted or not _may_vanish(data) else ACCEPTED


_may_vanish = re.compile(rb'"kind"\s*:\s*62\b').search
"""NIP-62: a request to vanish is followed whoever brings it. The rules look closer once it is read."""
