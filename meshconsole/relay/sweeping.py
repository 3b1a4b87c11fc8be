"""What is asked of all that matches, however much there is: piece by piece, oldest first.

A *walk* gives row keys and the connection that they were found on, each piece in a read transaction of its
own, which lasts until the next one is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from meshconsole.core.errors import Refused
from meshconsole.relay.hyperloglog import registers_of
from meshconsole.relay.keys import ID_BITS, SHORT_ID
from meshconsole.relay.many import in_lists
from meshconsole.relay.store import Item, Page

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from meshconsole.relay.dbapi import Connection

    Walked: TypeAlias = Iterable[tuple[Connection, list[int]]]

PAGE_BYTES = 4 << 20
"""A page ends when it holds this much."""


def registers(walk: Walked, offset: int) -> bytes:
    """`EventStore.registers`."""
    authors: set[int] = set()
    pubkeys: list[bytes] = []
    for connection, keys in walk:
        found: set[int] = set()
        for numbers in in_lists(keys):
            rows = connection.execute(f"select author from events where key in ({numbers})")
            found.update(row[0] for row in rows)
        for numbers in in_lists(sorted(found - authors)):
            rows = connection.execute(f"select pubkey from authors where author in ({numbers})")
            pubkeys.extend(row[0] for row in rows)
        authors |= found
    return registers_of(pubkeys, offset)


def items(walk: Walked, cap: int) -> list[Item]:
    """`EventStore.items`."""
    found: list[Item] = []
    make, pack = tuple.__new__, SHORT_ID.pack
    for connection, keys in walk:
        for numbers in in_lists(keys):
            rows = connection.execute(f"select key, short_id, rest from events where key in ({numbers})")
            # As plain as can be: this is most of what a comparison of 100,000 events takes.
            found += [make(Item, (key >> ID_BITS, pack(short) + rest)) for key, short, rest in rows]
        if len(found) > cap:
            raise Refused("blocked", f"more than {cap} events match; ask for less")
    return sorted(found)


def page(walk: Walked, after: int | None, count: int) -> Page:
    """`EventStore.scan`; the walk begins after `after`."""
    raws: list[bytes] = []
    size = 0
    last = after
    for connection, keys in walk:
        for key in keys:
            if len(raws) == count or size >= PAGE_BYTES:
                return Page(raws, last)
            (raw,) = connection.execute("select raw from bodies where key = ?", (key,)).fetchone()
            raws.append(raw)
            size += len(raw)
            last = key
    return Page(raws, None)


def sized(connection: Connection, keys: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """(row key, author, bytes) of each event, in order."""
    for numbers in in_lists(keys):
        yield from connection.execute(
            "select e.key, e.author, length(b.raw) from events e join bodies b on b.key = e.key"
            f" where e.key in ({numbers}) order by e.key"
        )
