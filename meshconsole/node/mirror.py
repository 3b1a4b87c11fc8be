"""The roster mirrored for plain Nostr clients (NIP-43), under a key that this relay has for it alone.

The key is derived from the device's secrets but is not the device's: whoever reads NIP-11 without
being let in learns which relay this is, and no more. While nothing is to be told, neither the events nor
the key are there.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from meshconsole.core import kinds
from meshconsole.core.event import decode_event
from meshconsole.crypto.schnorr import public_key, sign_event
from meshconsole.relay import membership
from meshconsole.relay.filter import Filter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from meshconsole.core.event import Event
    from meshconsole.relay.relay import Relay

log = logging.getLogger(__name__)


class RosterMirror:
    """`members` gives public keys with their roles, None while they are to be told to nobody. `clock` is
    in seconds since the epoch."""

    def __init__(
        self,
        relay: Relay,
        secret: bytes,
        members: Callable[[], Mapping[str, str] | None],
        clock: Callable[[], float],
    ) -> None:
        self._relay = relay
        self._secret = secret
        self._members = members
        self._clock = clock
        self._npub = public_key(secret)
        self._is_due = asyncio.Event()
        self._is_due.set()

    def changed(self) -> None:
        """The roster, the guests or the owner's wish may be new."""
        self._is_due.set()

    async def follow(self) -> None:
        """Many changes at once are told once. Never returns."""
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            try:
                await self.update()
            except BaseException:
                self._is_due.set()  # whoever starts this again finds it still to do
                raise

    async def update(self) -> None:
        members = self._members()
        if members is None:
            self._relay.house.npub = ""
            told = Filter(authors=frozenset({self._npub}), kinds=kinds.MEMBERSHIP_KINDS)
            await self._relay.delete([told])
            return
        self._relay.house.npub = self._npub
        events = await self._new_events(members)
        for verdict in await self._relay.publish_many(events, via="local"):
            if not verdict.accepted:
                log.warning("the member list was not stored: %s", verdict.message)

    async def _new_events(self, members: Mapping[str, str]) -> list[Event]:
        latest = await self._latest()
        told = latest.get((kinds.MEMBERS, ""))
        wanted = membership.list_event(members)
        templates = [*membership.role_events(), wanted]
        fresh = [one for one in templates if (old := latest.get(_key(one))) is None or old.tags != one.tags]
        if told is not None:
            shown = {tag[1]: "" for tag in wanted.tags if tag[0] == "member"}
            fresh += membership.change_events(membership.listed(told), shown)
        # Whatever the clock says: a newer list must take the place of the one before.
        now = max([int(self._clock()), *(event.created_at + 1 for event in latest.values())])
        return [sign_event(self._secret, kind, tags, "", now) for kind, tags in fresh]

    async def _latest(self) -> dict[tuple[int, str], Event]:
        wanted = Filter(authors=frozenset({self._npub}), kinds=frozenset({kinds.MEMBERS, kinds.ROLE}))
        events = [decode_event(raw) for raw in await self._relay.query([wanted], 100)]
        return {(event.kind, event.tag("d") or ""): event for event in events}


def _key(template: membership.Template) -> tuple[int, str]:
    names = [tag[1] for tag in template.tags if tag[0] == "d"]
    return template.kind, names[0] if names else ""
