"""What a store does beside its writers: settling what is ahead of the tables, emptying the log into the
database, indexing what is new.

One thread. What is ahead is settled when there is enough of it, or in a pause. The log is emptied while
much is being written (a passive checkpoint waits for nobody), so that a commit does not have to; where
little comes it waits for a pause, because a commit that meets it waits for the disk twice. Indexing waits
for a pause as well, because nobody asks for it yet.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from meshconsole.core.errors import MeshconsoleError

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

PAUSE_S = 0.25
"""The log is emptied so often at most, and indexing begins when nothing was written for so long."""

MUCH = 256
"""So many events in the log are not left in it until there is a pause."""


class Upkeep:
    """`settle` brings into the tables what is ahead of them, and says whether it could. `checkpoint` empties
    the log as far as it can. `index` does one step, and says whether more is to be done now: its argument is
    whether there is a pause."""

    def __init__(
        self, settle: Callable[[], bool], checkpoint: Callable[[], None], index: Callable[[bool], bool]
    ) -> None:
        self._settle = settle
        self._checkpoint = checkpoint
        self._index = index
        self._written = threading.Event()
        self._hurry = threading.Event()
        self._pending = 0
        """Events that were written since the log was emptied, about."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay-upkeep", daemon=True)
        self._thread.start()

    def wrote(self, events: int) -> None:
        self._pending += events
        self._written.set()

    def took_ahead(self, *, enough: bool) -> None:
        """Something is to be settled; at once, if it is enough."""
        if enough:
            self._hurry.set()
        self._written.set()

    def stop(self) -> None:
        self._stopping.set()
        self._hurry.set()
        self._written.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._written.wait()
            self._written.clear()
            if self._stopping.is_set():
                return
            try:
                self._tend()
            except MeshconsoleError as error:
                log.warning("the upkeep of the event store failed: %s", error)
            except Exception:
                log.exception("the upkeep of the event store failed")

    def _tend(self) -> None:
        if self._pending >= MUCH:
            self._empty_log()
        hurried = self._hurry.wait(PAUSE_S)
        self._hurry.clear()
        if not self._settle() or hurried:
            self._written.set()  # to be tried again; or no pause yet: there is more to do in the next one
            return
        has_indexed = False
        while not self._stopping.is_set() and self._index(not self._written.is_set()):
            has_indexed = True
        if has_indexed or (self._pending and not self._written.is_set()):
            self._empty_log()

    def _empty_log(self) -> None:
        self._pending = 0
        self._checkpoint()
