"""NIP-45 counts, from the store. Blocks; for the reading threads."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from meshconsole.core.errors import MeshconsoleError
from meshconsole.relay.verbs.count import register_offset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshconsole.relay.filter import Filter
    from meshconsole.relay.store import EventStore

MAX_COUNT = 1_000_000
"""More is not counted to the end."""


class Counted(NamedTuple):
    """`approximate`: there are at least so many. `registers` are b"" where none are given."""

    number: int
    approximate: bool
    registers: bytes


def count_stored(store: EventStore, filters: Sequence[Filter]) -> Counted:
    possible = [wanted for wanted in filters if not wanted.impossible]
    tally = store.tally(possible, MAX_COUNT)
    registers = b""
    offset = register_offset(filters)
    if offset is not None and tally.complete:
        with suppress(MeshconsoleError):  # the count is the answer, this only helps to merge it
            registers = store.registers(filters[0], offset)
    return Counted(tally.count, not tally.complete, registers)
