"""The uplinks of this node, as its configuration says now. Their code is loaded by the first one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.mesh.uplinks.via import uplink_name

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable
    from random import Random

    from meshconsole.core.status import UplinkStatus
    from meshconsole.core.verdict import Verdict
    from meshconsole.crypto.identity import Identity
    from meshconsole.mesh.emcon import Emcon
    from meshconsole.mesh.links.pipe import Meter
    from meshconsole.mesh.roster import Membership
    from meshconsole.mesh.uplinks.uplink import Uplink
    from meshconsole.relay.relay import Relay, Stored


_TALKING = ("comparing", "following", "level")


class Uplinking:
    """`urls` are those of now; `apply` says that they, or what may be sent, have changed."""

    def __init__(
        self,
        identity: Identity,
        relay: Relay,
        membership: Membership,
        *,
        meter: Meter,
        admit: Callable[[str, str], Verdict],
        emcon: Emcon,
        keep: Callable[[str, Callable[[], Awaitable[None]]], asyncio.Task[None]],
        random: Random,
        now: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self.urls: tuple[str, ...] = ()
        self._identity = identity
        self._relay = relay
        self._membership = membership
        self._meter = meter
        self._admit = admit
        self._emcon = emcon
        self._keep = keep
        self._random = random
        self._now = now
        self._clock = clock
        self._running: dict[str, tuple[Uplink, asyncio.Task[None]]] = {}

    def apply(self) -> None:
        urls = self.urls if self._emcon.may_send else ()
        for url in [url for url in self._running if url not in urls]:
            self._running.pop(url)[1].cancel()
        for url in urls:
            if url not in self._running:
                uplink = self._make(url)
                self._running[url] = uplink, self._keep(uplink_name(url), uplink.run)

    def stored(self, stored: Stored) -> None:
        """An event was taken in here, from whomever."""
        for uplink, _ in self._running.values():
            uplink.stored(stored.event, stored.raw, stored.via)

    def team_changed(self) -> None:
        for uplink, _ in self._running.values():
            uplink.team_changed()

    @property
    def is_up(self) -> bool:
        """Whether a relay is there that carries what is sent now."""
        return any(uplink.status().state in _TALKING for uplink, _ in self._running.values())

    def status(self) -> tuple[UplinkStatus, ...]:
        return tuple(uplink.status() for uplink, _ in self._running.values())

    def _make(self, url: str) -> Uplink:
        from meshconsole.mesh.uplinks.uplink import Around, Uplink

        around = Around(
            self._identity,
            self._relay,
            self._meter,
            self._admit,
            self._authors,
            lambda: self._membership.team is not None and self._emcon.may_dial,
            self._random,
            self._now,
            self._clock,
        )
        return Uplink(url, around)

    def _authors(self) -> frozenset[str]:
        team = self._membership.team
        return frozenset(device.npub for device in team.members()) if team is not None else frozenset()
