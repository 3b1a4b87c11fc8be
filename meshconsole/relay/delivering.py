"""Live delivery: an event that was taken in goes to every subscription that wants it and may hear it.

The gate is asked again, so that a member who was removed hears nothing more; once in a turn of the loop
for each client, for nothing else runs meanwhile. Clients with equal subscription ids share one message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.relay.live import LiveIndex
from meshconsole.relay.policy import may_ask

if TYPE_CHECKING:
    from meshconsole.core.event import Event
    from meshconsole.core.verdict import Verdict
    from meshconsole.relay.session import Session, Subscription
    from meshconsole.relay.traffic import Traffic
    from meshconsole.relay.turn import TurnEnd


class Delivering:
    """Holds the open subscriptions."""

    def __init__(self, turn_end: TurnEnd, traffic: Traffic) -> None:
        self._turn_end = turn_end
        self._traffic = traffic
        self._index: LiveIndex[Subscription] = LiveIndex()
        self._may_hear: dict[Session, Verdict] = {}
        """What the gate said in this turn of the loop."""

    def __len__(self) -> int:
        return len(self._index)

    def add(self, subscription: Subscription) -> None:
        """Or files it anew, after its filters have changed."""
        self._index.add(subscription, subscription.filters)

    def remove(self, subscription: Subscription) -> None:
        self._index.remove(subscription)

    def ask_again(self) -> None:
        """Who may hear what may have changed."""
        self._may_hear.clear()

    def pass_on(self, event: Event, raw: bytes, seq: int) -> bool:
        """Whether any subscription wanted it."""
        messages: dict[bytes, bytes] = {}
        subscriptions = self._index.wanted_by(event)
        may_hear = self._may_hear
        sent = slow = 0
        for subscription in subscriptions:
            session = subscription.session
            verdict = may_hear.get(session) or self._ask_for(session)
            if not verdict.accepted:
                session.fail(subscription, verdict)
            else:
                prefix = subscription.prefix
                message = messages.get(prefix)
                if message is None:
                    message = messages[prefix] = prefix + raw + b"]"
                session.deliver_message(subscription, seq, message)
                sent += 1
                slow += subscription.closed
            if subscription.closed:
                self._index.remove(subscription)
        self._traffic.events_out += sent
        self._traffic.slow_closed += slow
        return bool(subscriptions)

    def _ask_for(self, session: Session) -> Verdict:
        if not self._may_hear:
            self._turn_end.do(self._may_hear.clear)
        verdict = self._may_hear[session] = may_ask(session.client)
        return verdict
