"""Small durable state of a node: cursors into the peers' logs, invites, addresses that worked.

One table in node.db, a row per name. Every write is durable on return.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from meshconsole.crypto.database import open_database, translate

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")


class NodeState:
    """A durable map from names to msgspec values. Safe to use from several threads."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._connection = open_database(path, key)
        self._lock = threading.Lock()
        if not self._run("select 1 from sqlite_master where name = 'state'", ()):
            from sqlite_utils import Database  # only here: it costs a node 9 MB of memory

            Database(self._connection).table("state").create({"name": str, "value": bytes}, pk="name")

    def get(self, name: str, kind: type[T], default: T) -> T:
        rows = self._run("select value from state where name = ?", (name,))
        return msgspec.msgpack.decode(rows[0][0], type=kind) if rows else default

    def put(self, name: str, value: object) -> None:
        encoded = msgspec.msgpack.encode(value)
        self._run("insert or replace into state (name, value) values (?, ?)", (name, encoded))

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _run(self, sql: str, parameters: tuple[object, ...]) -> list[Any]:
        with self._lock:
            try:
                rows: list[Any] = self._connection.execute(sql, parameters).fetchall()
            except Exception as error:
                raise translate(error) from error
            return rows


class KnownAddresses:
    """Addresses at which peers were reached, for the next start. A hint, never a proof."""

    def __init__(self, state: NodeState) -> None:
        self._state = state

    def load(self) -> dict[str, list[str]]:
        return self._state.get("addresses", dict[str, list[str]], {})

    def save(self, addresses: dict[str, list[str]]) -> None:
        self._state.put("addresses", addresses)


class Cursors:
    """How far into each peer's log this node has come: durable, so that a restart loses nothing."""

    def __init__(self, state: NodeState) -> None:
        self._state = state

    def get(self, peer: str, log_id: str) -> int:
        return self._state.get(f"cursor/{peer}/{log_id}", int, 0)

    def put(self, peer: str, log_id: str, seq: int) -> None:
        self._state.put(f"cursor/{peer}/{log_id}", seq)
