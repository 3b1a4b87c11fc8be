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
    from meshconsole.team.facts import EpochRecord

MAX_WAITING = 1024
"""Grants whose epoch is not in the roster yet, other devices' too; the oldest is dropped first."""
MAX_ADDRESSES = 65_536
"""Addresses of grants that are remembered, to see who still lacks one."""


class Keyring:
    def __init__(self, me: Identity, team: bytes) -> None:
        self._me = me
        self._team = team
        self._keys: dict[str, EpochKey] = {}
        self._waiting: dict[str, Event] = {}
        self._granters: dict[str, set[str]] = {}
        self._addresses: dict[str, str] = {}

    def holds(self, record: EpochRecord) -> bool:
        return record.commit in self._keys

    def held(self, record: EpochRecord) -> EpochKey:
        key = self._keys.get(record.commit)
        if key is None:
            raise LocalError(f"The key of epoch {record.n} is not held.")
        return key

    def add(self, key: EpochKey) -> None:
        self._keys[key.commit] = key

    def offer(self, event: Event, records: Iterable[EpochRecord]) -> None:
        """A grant for some device. Own ones are opened at once if their epoch is known."""
        address = event.tag("d") or ""
        if len(self._granters) < MAX_ADDRESSES:
            self._granters.setdefault(address, set()).add(event.pubkey)
        for record in records:
            if not self.holds(record) and address == self._address(record):
                self._open(event, record)
                self.follow_links(records)
                return
        self._waiting[event.id] = event
        if len(self._waiting) > MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]

    def granters(self, record: EpochRecord, npub: str) -> set[str]:
        """Who has sent a grant of this epoch to that device, true or not."""
        return self._granters.get(grant_address(self._team, record.kid, npub), set())

    def catch_up(self, records: Iterable[EpochRecord]) -> None:
        """Opens what has waited for its epoch to appear in the roster."""
        wanted = {self._address(record): record for record in records if not self.holds(record)}
        for event in list(self._waiting.values()):
            record = wanted.get(event.tag("d") or "")
            if record is not None:
                del self._waiting[event.id]
                self._open(event, record)
        self.follow_links(records)

    def follow_links(self, records: Iterable[EpochRecord]) -> None:
        """Earlier epochs, through the links of those that are held."""
        by_kid = {record.kid: record for record in records}
        todo = [record for record in by_kid.values() if self.holds(record)]
        while todo:
            record = todo.pop()
            for link in record.links:
                earlier = by_kid.get(link.kid)
                if earlier is not None and not self.holds(earlier):
                    self._open_link(record, earlier, link.sealed)
                    if self.holds(earlier):
                        todo.append(earlier)

    def _address(self, record: EpochRecord) -> str:
        address = self._addresses.get(record.kid)
        if address is None:
            address = self._addresses[record.kid] = grant_address(self._team, record.kid, self._me.npub)
        return address

    def _open(self, event: Event, record: EpochRecord) -> None:
        try:
            self.add(open_grant(self._me, event, self._team, record.n, record.commit))
        except Refused:
            return  # not ours, or a wrong key: another offer may be the right one

    def opened_by(self, record: EpochRecord, records: Iterable[EpochRecord]) -> set[str]:
        """The key ids among `records` that the links of a held epoch truly lead to."""
        by_kid = {each.kid: each for each in records}
        found = set()
        for link in record.links:
            earlier = by_kid.get(link.kid)
            if earlier is not None and self._follow(record, earlier, link.sealed) is not None:
                found.add(link.kid)
        return found

    def _open_link(self, record: EpochRecord, earlier: EpochRecord, sealed: str) -> None:
        key = self._follow(record, earlier, sealed)
        if key is not None:
            self.add(key)

    def _follow(self, record: EpochRecord, earlier: EpochRecord, sealed: str) -> EpochKey | None:
        """None for a link that lies: it gives nothing, and a grant may still bring the key."""
        try:
            return self.held(record).open_link(sealed, earlier.n, earlier.commit)
        except Refused:
            return None
