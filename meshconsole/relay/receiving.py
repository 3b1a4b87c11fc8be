"""What clients send: the open sessions, and who takes up what each of their messages asks for.

Events go to the pipeline, unless they come too fast; questions to what answers them from the store, and
those that stay open to live delivery as well, before the stored part is read.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from meshconsole.core.errors import MeshconsoleError
from meshconsole.core.verdict import ACCEPTED
from meshconsole.relay.event import readable_id
from meshconsole.relay.happening import Closed, Counting, Offered, Opened, TurnedAway, Widened
from meshconsole.relay.pace import Pace
from meshconsole.relay.pipeline import Offer
from meshconsole.relay.verbs import receive

if TYPE_CHECKING:
    from meshconsole.core.event import Event
    from meshconsole.core.sections import RelaySection
    from meshconsole.core.verdict import Verdict
    from meshconsole.relay.answering import Answering
    from meshconsole.relay.delivering import Delivering
    from meshconsole.relay.negotiating import Negotiating
    from meshconsole.relay.outcomes import Outcomes
    from meshconsole.relay.pipeline import Pipeline
    from meshconsole.relay.policy import Client
    from meshconsole.relay.session import Session
    from meshconsole.relay.traffic import Traffic


class Port(Protocol):
    """The connection under a session."""

    def wake(self) -> None:
        """The session has something to send."""

    async def drained(self) -> None:
        """Returns when the connection can take more."""


class Takers(NamedTuple):
    """Those who take up what clients ask for."""

    pipeline: Pipeline
    answering: Answering
    negotiating: Negotiating


class Receiving:
    """Holds the open sessions. `takers` are there from the start of the relay on."""

    def __init__(self, config: RelaySection, live: Delivering, traffic: Traffic, outcomes: Outcomes) -> None:
        self._config = config
        self._live = live
        self._traffic = traffic
        self._outcomes = outcomes
        self._pace = Pace(config)
        self.ports: dict[Session, Port] = {}
        """The open sessions, and the connection under each."""
        self.takers: Takers | None = None

    def apply(self, config: RelaySection) -> None:
        """New limits, or another team: for open sessions, and what they have open, too."""
        self._config = config
        self._pace.apply(config)
        for session in self.ports:
            session.apply(config)
            for subscription in session.recheck():
                if subscription.closed:
                    self._live.remove(subscription)
                else:
                    self._live.add(subscription)

    def connected(self, session: Session, port: Port) -> None:
        self.ports[session] = port

    def disconnected(self, session: Session) -> None:
        del self.ports[session]
        client = session.client
        self._traffic.ended(client.network, client.npubs, client.use)
        for subscription in session.end():
            self._live.remove(subscription)

    async def drained(self, session: Session) -> bool:
        """Waits until the connection can take more; False when it is gone."""
        port = self.ports.get(session)
        if port is not None:
            await port.drained()
        return session in self.ports

    def receive(self, session: Session, message: bytes, via: str) -> None:
        """One text message from the session's client."""
        if self.takers is None:
            raise MeshconsoleError("The relay was not started.")
        for happening in receive(session, message, time.monotonic()):
            if isinstance(happening, Offered):
                self._offer(self.takers.pipeline, session, happening, via)
            elif isinstance(happening, TurnedAway):
                claimed, size, verdict = happening
                self._outcomes.turned_away(None, claimed, size, verdict, via, session.client.use)
            elif isinstance(happening, Opened):
                self._requested(session)
                self._live.add(happening.subscription)
                self.takers.answering.open(happening.subscription, self._outcomes.announced)
            elif isinstance(happening, Widened):
                self._live.add(happening.subscription)
            elif isinstance(happening, Counting):
                self._requested(session)
                self.takers.answering.count(happening)
            elif isinstance(happening, Closed):
                self._live.remove(happening.subscription)
            else:
                self._requested(session)
                self.takers.negotiating.answer(happening)

    def _requested(self, session: Session) -> None:
        self._traffic.requests += 1
        session.client.use.requests += 1

    def _offer(self, pipeline: Pipeline, session: Session, offered: Offered, via: str) -> None:
        data, claimed = offered
        client = session.client
        if self._pace.is_set and not client.trusted:
            verdict = self._pace.offer(client.npubs, time.monotonic())
            if not verdict.accepted:
                identifier = claimed or readable_id(data)
                session.answer(identifier, len(data), verdict)
                self._outcomes.turned_away(None, identifier or "", len(data), verdict, via, client.use)
                return

        # Of thousands that are under way, nothing is held to answer but this.
        named = partial(session.answer, claimed, len(data))
        answer = named if claimed else partial(_answer_unnamed, session, data)
        pipeline.offer(Offer(data, claimed, client, via, answer, self._config.max_event_bytes))

    def judge_pace(self, event: Event, client: Client) -> Verdict:
        """Is this kind of event coming too fast from this client?"""
        if client.trusted or not self._pace.is_set:
            return ACCEPTED
        return self._pace.kind(event.kind, client.npubs, client.network, time.monotonic())


def _answer_unnamed(session: Session, data: bytes, verdict: Verdict) -> None:
    """An id that is none may still be one that its sender knows it by."""
    session.answer(readable_id(data), len(data), verdict)
