"""One row for each device of the team, put together from what every part of the mesh knows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from meshconsole.mesh.datagrams.messages import HEARD
from meshconsole.mesh.view import peer_status

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.core.status import PeerStatus
    from meshconsole.mesh.clock import TeamClock
    from meshconsole.mesh.datachannels import DataChannels
    from meshconsole.mesh.hearing import Hearing
    from meshconsole.mesh.ladder import Ladder
    from meshconsole.mesh.linking import Links
    from meshconsole.mesh.roster import Membership


class Board(msgspec.Struct):
    """`now` is monotonic, `clock` seconds since the epoch."""

    npub: str
    membership: Membership
    links: Links
    ladder: Ladder
    channels: DataChannels
    hearing: Hearing
    now: Callable[[], float]
    clock: Callable[[], float]
    clocks: TeamClock

    def rows(self) -> tuple[PeerStatus, ...]:
        """Every device of the team but this one; removed ones only while they have a link."""
        team = self.membership.team
        if team is None:
            return ()
        now = self.now()
        offset = self.clock() - now
        rows = []
        marks = {bytes.fromhex(device.npub)[:HEARD]: device.npub for device in team.members()}
        for device in team.members():
            session = self.links.sessions.get(device.npub)
            if device.npub == self.npub or (device.removed and session is None):
                continue
            if session is not None:
                self.links.remember(session)
            rows.append(
                peer_status(
                    device,
                    session,
                    self.links.records[device.npub],
                    self.ladder.candidates(device.npub),
                    self.ladder.attempts.of(device.npub),
                    self.channels.error(device.npub),
                    lambda at: at + offset,
                    self.clocks.known_of(device.npub),
                    heard_by=self.hearing.ways(device.npub, now),
                    heard_us=self.hearing.hears_us(device.npub, now),
                    hears=self._named(self.hearing.hears(device.npub, now), marks),
                )
            )
        return tuple(rows)

    @staticmethod
    def _named(heard: bytes, marks: dict[bytes, str]) -> tuple[str, ...]:
        """The devices that a beacon names, those of the team."""
        named = (marks.get(heard[at : at + HEARD]) for at in range(0, len(heard), HEARD))
        return tuple(npub for npub in named if npub is not None)
