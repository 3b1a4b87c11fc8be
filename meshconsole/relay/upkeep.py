"""What a store does beside its writers: emptying the log into the database, indexing what is new.

One thread. The log is emptied while writing goes on (a passive checkpoint waits for nobody), so that
a commit does not have to; indexing waits for a pause in the writing, because nobody asks for it yet.
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


class Upkeep:
    """`checkpoint` empties the log as far as it can. `index` does one step, and says whether more is to
    be done now: its argument is whether there is a pause."""

    def __init__(self, checkpoint: Callable[[], None], index: Callable[[bool], bool]) -> None:
        self._checkpoint = checkpoint
        self._index = index
        self._written = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay-upkeep", daemon=True)
        self._thread.start()

    def wrote(self) -> None:
        self._written.set()

    def stop(self) -> None:
        self._stopping.set()
        self._written.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._written.wait()
            self._written.clear()
            if self._stopping.is_set():
                return
            try:
                self._checkpoint()
                self._stopping.wait(PAUSE_S)
                has_indexed = False
                while not self._stopping.is_set() and self._index(not self._written.is_set()):
                    has_indexed = True
                if has_indexed:
                    self._checkpoint()
            except MeshconsoleError as error:
                log.warning("the upkeep of the event store failed: %s", error)
            except Exception:
                log.exception("the upkeep of the event store failed")
