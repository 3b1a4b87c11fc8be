"""Public keys as small integers, as rows of the event store hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshconsole.relay.dbapi import Connection


class Authors:
    """Public keys as small integers. Only committed ones are remembered, and not too many."""

    LIMIT = 8192

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def number(self, connection: Connection, pubkey: str) -> int | None:
        found = self._known.get(pubkey)
        if found is None:
            row = connection.execute(
                "select author from authors where pubkey = ?", (bytes.fromhex(pubkey),)
            ).fetchone()
            if row is None:
                return None
            found = row[0]
            self.remember({pubkey: found})
        return found

    def remember(self, numbers: dict[str, int]) -> None:
        if len(self._known) + len(numbers) > self.LIMIT:
            self._known.clear()
        self._known.update(numbers)
