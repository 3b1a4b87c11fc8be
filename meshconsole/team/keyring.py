"""The epoch keys a device holds, and the grants it has been offered but cannot match yet. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.errors import LocalError, Refused
from meshconsole.team.epochs import grant_address, open_grant

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshconsole.core.event import Event
    from meshconsole.crypto.identity import Identity
    from meshconsole.team.epochs import EpochKey
    from meshconsole.team.resolution import EpochRecord

MAX_GRANTS = 4096
"""Grants kept by address, other devices' too: which are ours is known only once the roster is."""


class Keyring:
    def __init__(self, me: Identity, team: bytes) -> None:
        self._me = me
        self._team = team
        self._keys: dict[str, EpochKey] = {}
        self._grants: dict[str, list[Event]] = {}

    def holds(self, record: EpochRecord) -> bool:
        return record.commit in self._keys

    def held(self, record: EpochRecord) -> EpochKey:
        key = self._keys.get(record.commit)
        if key is None:
            raise LocalError(f"The key of epoch {record.n} is not held.")
        return key

    def add(self, key: EpochKey) -> None:
        self._keys[key.commit] = key

    def offer(self, event: Event) -> None:
        """A grant for some device; several may have been sent to the same address."""
        address = event.tag("d") or ""
        offers = self._grants.setdefault(address, [])
        if event not in offers:
            offers.append(event)
        del offers[:-4]
        if len(self._grants) > MAX_GRANTS:
            del self._grants[next(iter(self._grants))]

    def catch_up(self, records: Iterable[EpochRecord]) -> None:
        """Opens what can be opened now: own grants, then the links of every key that is held."""
        by_kid = {record.kid: record for record in records}
        for record in by_kid.values():
            if not self.holds(record):
                self._open_grants(record)
        waiting = [record for record in by_kid.values() if self.holds(record)]
        while waiting:
            record = waiting.pop()
            for link in record.links:
                earlier = by_kid.get(link.kid)
                if earlier is not None and not self.holds(earlier):
                    self._open_link(record, earlier, link.sealed)
                    if self.holds(earlier):
                        waiting.append(earlier)

    def _open_grants(self, record: EpochRecord) -> None:
        for event in self._grants.get(grant_address(self._team, record.kid, self._me.npub), ()):
            try:
                self.add(open_grant(self._me, event, self._team, record.n, record.commit))
            except Refused:
                continue  # not ours, or a wrong key: the next offer may be the right one
            return

    def _open_link(self, record: EpochRecord, earlier: EpochRecord, sealed: str) -> None:
        try:
            self.add(self.held(record).open_link(sealed, earlier.n, earlier.commit))
        except Refused:
            return  # a link that lies gives nothing; a grant may still bring the key
