"""The gatekeeper at the relay's door: carries out what `places.py` and `pulse.py` say, on real connections.

It looks at all connections every few seconds, with one task for all of them; `tend` takes the time, so
that nothing here needs a clock to be tested.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from meshconsole.core.status import SlowClient
from meshconsole.core.verdict import ACCEPTED, Verdict, refuse
from meshconsole.relay.places import (
    GAVE_WAY,
    HANDSHAKE_TOO_LONG,
    STRANGERS_FULL,
    TOO_MANY_HANDSHAKES,
    Place,
    Places,
    TurnedAway,
)
from meshconsole.relay.policy import is_stranger
from meshconsole.relay.proxies import is_trusted
from meshconsole.relay.pulse import PING, Pulse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from meshconsole.core.sections import LimitsSection
    from meshconsole.relay.client import ClientPort
    from meshconsole.relay.connection import ClientConnection
    from meshconsole.relay.proxies import Network
    from meshconsole.relay.relay import Relay

log = logging.getLogger(__name__)

TEND_S = 2.0
STOPPING = TurnedAway(HTTPStatus.SERVICE_UNAVAILABLE, refuse("error", "this relay is shutting down"))


NO_LONGER = refuse("restricted", "the key that you logged in with may not use this relay any more")


class Gatekeeper:
    """`admit` asks the owner's limits for one more connection of a kind; `clock` is monotonic."""

    def __init__(
        self,
        relay: Relay,
        limits: LimitsSection,
        admit: Callable[[str, str], Verdict] | None,
        clock: Callable[[], float],
    ) -> None:
        self.places = Places(limits)
        self._relay = relay
        self._limits = limits
        self.trusted: tuple[Network, ...] = ()
        """Proxies whose word counts."""
        self._admit = admit
        self._clock = clock
        self._connections: dict[Place, ClientConnection] = {}
        self._clients: dict[Place, tuple[ClientPort, Pulse]] = {}
        self._tending: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._tending = asyncio.create_task(self._tend(), name="relay-door")

    async def stop(self) -> None:
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.gather(self._tending, return_exceptions=True)

    def apply(self, limits: LimitsSection) -> None:
        """New limits, for open connections too: those that are too many now drain."""
        self._limits = limits
        self.places.apply(limits)

    def knock(self, connection: ClientConnection, transport: asyncio.Transport) -> TurnedAway | None:
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if peer else ""
        is_proxy = is_trusted(address, self.trusted)
        place = self.places.knock(address, self._clock(), exempt=is_proxy)
        if isinstance(place, TurnedAway):
            self._relay.traffic.refuse(place.verdict)
            return place
        connection.place = place
        self._connections[place] = connection
        if (displaced := self.places.displaced()) is not None:
            self._dismiss(displaced, TOO_MANY_HANDSHAKES)
        return None

    def passed_on(self, connection: ClientConnection, address: str) -> Verdict:
        """A trusted proxy says whose connection it is: from now on it counts as that client's."""
        if connection.place is None:
            return ACCEPTED
        turned_away = self.places.move(connection.place, address, self._clock())
        if turned_away is not None:
            self._relay.traffic.refuse(turned_away.verdict)
            return turned_away.verdict
        connection.forwarded = address
        return ACCEPTED

    def left(self, connection: ClientConnection) -> None:
        if connection.place is not None:
            self.places.leave(connection.place)
            self._connections.pop(connection.place, None)

    def may_enter(self, kind: str, remote: str) -> Verdict:
        """A place for one more; where clients must log in, one who has not may have to give way."""
        verdict = self._admit(kind, remote) if self._admit is not None else ACCEPTED
        if kind != "client" or self._relay.access.public():
            return verdict
        if verdict.accepted and not self.places.strangers_are_many(self._is_stranger):
            return verdict
        yielding = self.places.yielding(self._clock(), self._is_stranger)
        if yielding is None:
            if not verdict.accepted:
                return verdict
            self._relay.traffic.refuse(STRANGERS_FULL)
            return STRANGERS_FULL
        self._relay.traffic.refuse(GAVE_WAY)
        self.places.leave(yielding)
        self._connections[yielding].expel(GAVE_WAY.message)
        return self._admit(kind, remote) if self._admit is not None and not verdict.accepted else verdict

    def enter(self, connection: ClientConnection, kind: str) -> None:
        """Its handshake is answered with yes."""
        if connection.place is not None:
            self.places.enter(connection.place, kind)

    def attend(self, place: Place, port: ClientPort) -> None:
        """From now on this client's pulse is taken, until it has left."""
        self._clients[place] = port, Pulse(self._clock())

    def forget(self, place: Place) -> None:
        del self._clients[place]

    def tend(self, now: float) -> None:
        """Ends handshakes that take too long, and clients that are dead, stuck or idle."""
        for place in self.places.overdue(now):
            if not self._connections[place].is_answered:
                self._dismiss(place, HANDSHAKE_TOO_LONG)
        traffic = self._relay.traffic
        for port, pulse in self._clients.values():
            if not port.connection.is_open:
                continue
            verdict = pulse.look(port.signs(), self._limits, now)
            if verdict == PING:
                port.connection.ping_now()
            elif verdict is not None:
                traffic.slow_closed += port.connection.paused
                traffic.refuse(verdict, port.client.use)
                port.connection.expel(verdict.message)

    def hurry(self) -> None:
        """When the relay stops: ends what would hold it up, unfinished handshakes and clients that do not
        read, whose last words the library would wait to send."""
        for place in self.places.pending():
            if not self._connections[place].is_answered:
                self._dismiss(place, STOPPING)
        for connection in self._connections.values():
            if connection.is_stuck:
                connection.transport.abort()

    def expel_former(self) -> None:
        """Who has logged in and may neither read nor write any more, by what it has proven, is let go."""
        for place, (port, _) in list(self._clients.items()):
            if port.client.npubs and is_stranger(port.client):
                self._relay.traffic.refuse(NO_LONGER, port.client.use)
                self._connections[place].expel(NO_LONGER.message)

    def slow(self) -> Iterator[SlowClient]:
        """Clients that do not take what they are sent, now."""
        for port, pulse in self._clients.values():
            if port.connection.paused:
                npub = next(iter(port.client.npubs), "")
                yield SlowClient(port.client.network, npub, port.owed, pulse.owing_for(self._clock()))

    def _is_stranger(self, place: Place) -> bool:
        attended = self._clients.get(place)
        return attended is None or is_stranger(attended[0].client)

    def _dismiss(self, place: Place, turned_away: TurnedAway) -> None:
        self._relay.traffic.refuse(turned_away.verdict)
        self.places.leave(place)
        self._connections[place].dismiss(turned_away)

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(TEND_S)
            try:
                self.tend(self._clock())
            except Exception:  # one bad look must not be the last: nobody would be let go any more
                log.exception("looking after the connections failed")
