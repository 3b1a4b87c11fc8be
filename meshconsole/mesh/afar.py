"""Members without a link: signals to and from them, over the links to others or over a plain relay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshconsole.mesh.signalling import open_signal, seal_signal

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

    from meshconsole.core.event import Event
    from meshconsole.crypto.identity import Identity
    from meshconsole.mesh.emcon import Emcon
    from meshconsole.mesh.messages import Describe
    from meshconsole.mesh.roster import Membership
    from meshconsole.relay.relay import Relay


class Afar:
    """`has_path` says whether there is anybody to carry a signal on; `clock` is seconds since the epoch."""

    def __init__(
        self,
        identity: Identity,
        membership: Membership,
        relay: Relay,
        emcon: Emcon,
        *,
        has_path: Callable[[], bool],
        spawn: Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[None]],
        clock: Callable[[], float],
    ) -> None:
        self._identity = identity
        self._membership = membership
        self._relay = relay
        self._emcon = emcon
        self._has_path = has_path
        self._spawn = spawn
        self._clock = clock

    def members(self) -> list[str]:
        """Whom a signal may be sent to of this node's own accord; nobody while there is no path."""
        team = self._membership.team
        if team is None or not self._emcon.may_dial or not self._has_path() or not team.datagram_keys():
            return []
        return [d.npub for d in team.members() if not d.removed and d.npub != self._identity.npub]

    def send(self, npub: str, message: Describe) -> bool:
        """As an ephemeral event; False if there is no path."""
        team = self._membership.team
        keys = team.datagram_keys() if team is not None else ()
        if not keys or not self._has_path() or not self._emcon.may_send:
            return False
        event = seal_signal(self._identity, keys[0], npub, message, int(self._clock()))
        self._spawn(f"signal to {npub[:8]}", self._publish(event))
        return True

    def heard(self, event: Event) -> Describe | None:
        """The signal in an event of kind 24201, if it is a member's and for this node."""
        team = self._membership.team
        device = team.member(event.pubkey) if team is not None else None
        if team is None or device is None or device.removed or event.pubkey == self._identity.npub:
            return None
        return open_signal(event, team.datagram_keys(), self._identity.npub)

    async def _publish(self, event: Event) -> None:
        await self._relay.publish(event)
