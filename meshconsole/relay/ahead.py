"""Events that are durable in the journal and acknowledged, but not in the tables yet.

What comes alone would pay for a whole commit: nine pages that are encrypted, authenticated and written
twice. Instead it is one block of the journal, and the tables get it together with what comes after it, or
before anybody reads them: nobody can tell the difference (decision 43).
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from meshconsole.core.errors import MeshconsoleError
from meshconsole.core.event import decode_event, is_ephemeral
from meshconsole.core.kinds import DELETION
from meshconsole.core.verdict import ACCEPTED, Verdict
from meshconsole.relay.event import expiration
from meshconsole.relay.promptness import FEW, FEW_BYTES
from meshconsole.relay.retention import is_versioned
from meshconsole.relay.store import Entry, Written

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from meshconsole.relay.journal import Journal

log = logging.getLogger(__name__)

ENOUGH = 32
"""So many do not wait for a pause: whoever reads next has to wait for their commit."""

REST_S = 60.0
"""After the journal failed it is left alone so long: a disk may take seconds to say that it is broken."""

_SEQ_LEN = 8


class Ahead:
    """Used by whoever holds the store's lock on writing; `len` by anybody."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.entries: list[Entry] = []
        """In the order in which they go into the tables, one seq after the other."""
        self.ids: set[str] = set()
        self._not_before = 0.0
        self.head = 0
        """The last one's place in the log, also when the tables have it by now."""

    def __len__(self) -> int:
        return len(self.entries)

    def recover(self, head: int) -> None:
        """What was acknowledged by a process that ended before the tables had it: they get it before anything
        is taken. Raises an error of ours where the journal cannot be read."""
        found = [row for record in self._journal.read() for row in _rows(record)]
        if found and found[0][0] > head + 1:
            # A round begins where the tables end. What lies between may have removed some of these.
            log.warning("the journal is of a later time than the database, which was set back: left out")
            found = []
        for seq, raw in found:
            if seq > head:
                self._add(Entry(decode_event(raw), raw), seq)
        try:
            self._journal.make()
        except MeshconsoleError as error:
            log.warning("each event is committed by itself: %s", error)
        if not self.entries:
            self._journal.begin_anew()

    def take(self, batch: Sequence[Entry], verdicts: Sequence[Verdict], head: int) -> list[Written] | None:
        """Makes those durable that are to be accepted. `head` is that of the tables. None where the journal
        does not do it: then nothing was taken."""
        fresh = [entry for entry, verdict in zip(batch, verdicts, strict=True) if verdict is ACCEPTED]
        seq = head + len(self.entries)
        if fresh:
            record = (seq + 1).to_bytes(_SEQ_LEN, "big") + b"\n".join(entry.raw for entry in fresh)
            if time.monotonic() < self._not_before or not self._journal.has_room(len(record)):
                return None
            try:
                self._journal.append(record)
            except MeshconsoleError as error:
                self._not_before = time.monotonic() + REST_S
                log.warning("each event is committed by itself for a minute: %s", error)
                return None
        written = []
        for entry, verdict in zip(batch, verdicts, strict=True):
            if verdict is ACCEPTED:
                seq += 1
                self._add(entry, seq)
            written.append(Written(verdict, seq if verdict is ACCEPTED else 0))
        return written

    def settled(self) -> None:
        """The tables have them all, durably."""
        self.entries, self.ids = [], set()
        self._journal.begin_anew()

    def close(self) -> None:
        self._journal.close()

    def _add(self, entry: Entry, seq: int) -> None:
        self.entries.append(entry)
        self.ids.add(entry.event.id)
        self.head = seq


def _rows(record: bytes) -> Iterator[tuple[int, bytes]]:
    """Places in the log, and events."""
    first = int.from_bytes(record[:_SEQ_LEN], "big")
    return enumerate(record[_SEQ_LEN:].split(b"\n"), first)


def may_wait(batch: Sequence[Entry]) -> bool:
    """Few events that are kept until somebody else removes them, and remove nothing themselves. More are
    worth a commit of their own."""
    if len(batch) > FEW or sum(len(entry.raw) for entry in batch) > FEW_BYTES:
        return False
    return all(map(_is_plain, batch))


def _is_plain(entry: Entry) -> bool:
    kind = entry.event.kind
    if entry.vanish or kind == DELETION or is_ephemeral(kind) or is_versioned(kind):
        return False
    return expiration(entry.event) is None
