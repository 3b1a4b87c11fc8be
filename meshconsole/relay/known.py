"""Which ids the event store holds, and which it needs no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.relay.keys import id_bytes, short_id
from meshconsole.relay.many import in_lists, json_lists

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from meshconsole.relay.dbapi import Connection


def known_ids(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those ids that are in the tables. The whole id is compared, not only its first 8 bytes."""
    if len(ids) == 1:  # as a list it would take three times as long
        sql = "select short_id, rest from events where short_id = ?"
        rows = connection.execute(sql, (short_id(ids[0]),)).fetchall()
        return {id_bytes(*row).hex() for row in rows}.intersection(ids)
    # A list in a parameter: a statement with the numbers in its text would be planned for each batch.
    sql = "select e.short_id, e.rest from json_each(?) k cross join events e on e.short_id = k.value"
    found: set[str] = set()
    for part in json_lists([short_id(event_id) for event_id in ids]):
        found.update(id_bytes(*row).hex() for row in connection.execute(sql, (part,)))
    return found.intersection(ids)


def settled_ids(connection: Connection, ids: Collection[str]) -> set[str]:
    """Those ids that are in the tables, or that were refused or removed for good."""
    found = known_ids(connection, list(ids))
    shorts = {short_id(event_id): event_id for event_id in ids}
    for numbers in in_lists(list(shorts)):
        rows = connection.execute(f"select short_id from refused where short_id in ({numbers})")
        found.update(shorts[row[0]] for row in rows)
    return found


def refused_too_long_ago(connection: Connection, most: int) -> int | None:
    """Before when ids were refused that are too many to be remembered, a tenth of `most` with them. None
    while there are not that many."""
    count = int(connection.execute("select count(*) from refused").fetchone()[0])
    if count <= most:
        return None
    sql = "select at from refused order by at limit 1 offset ?"
    return int(connection.execute(sql, (count - most * 9 // 10,)).fetchone()[0])
