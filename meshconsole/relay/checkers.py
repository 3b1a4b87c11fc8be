"""Those who check offered events, off the loop: threads, and processes where the mode allows them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from functools import partial
from typing import TYPE_CHECKING

from meshconsole.core.errors import MeshconsoleError
from meshconsole.core.verdict import DUPLICATE
from meshconsole.relay.checking import check
from meshconsole.relay.threads import LoopThreads
from meshconsole.relay.verifiers import REST_S, Verifiers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from meshconsole.core.sections import PerformanceMode
    from meshconsole.core.verdict import Verdict
    from meshconsole.relay.event import ReadEvent
    from meshconsole.relay.pipeline import Offer
    from meshconsole.relay.store import EventStore

log = logging.getLogger(__name__)

MAX_CORES = 4


class Checkers:
    """In `full` mode with processes that last, in `balanced` with one while much comes, in `saver` with
    threads alone. Made on the loop that hears the results."""

    def __init__(self, store: EventStore, mode: PerformanceMode) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        # One core is left to the loop and the writer: a process more than that makes all of them slower.
        beside = max(1, min(os.cpu_count() or 1, MAX_CORES) - 1)
        self._verifiers: Verifiers | None = None
        if mode == "full":
            self._verifiers = Verifiers(beside)
        elif mode == "balanced":
            self._verifiers = Verifiers(1, lasting=False)
        self._threads = LoopThreads(1 if mode == "balanced" else beside, "relay-verify")
        self._resting: asyncio.TimerHandle | None = None

    def check(
        self,
        offers: Sequence[Offer],
        done: Callable[[list[ReadEvent | Verdict]], None],
        failed: Callable[[BaseException], None],
        *,
        looking: bool,
    ) -> None:
        """Calls back on the loop. `looking` for duplicates in the store comes first."""
        store = self._store if looking else None
        self._threads.do(partial(_check, store, self._verifiers, offers), done, failed)
        if self._verifiers is not None and self._resting is None:
            self._resting = self._loop.call_later(REST_S, self._rest)

    async def stop(self) -> None:
        """When what is under way is done."""
        if self._resting is not None:
            self._resting.cancel()
        await asyncio.to_thread(self._threads.stop)
        verifiers, self._verifiers = self._verifiers, None
        if verifiers is not None:
            await asyncio.to_thread(verifiers.stop)

    def _rest(self) -> None:
        self._resting = None
        if self._verifiers is not None:
            self._threads.do(partial(self._verifiers.rest, time.monotonic()), self._rested, _rest_failed)

    def _rested(self, any_may_rest: bool) -> None:
        if any_may_rest and self._resting is None:
            self._resting = self._loop.call_later(REST_S, self._rest)


def _check(
    store: EventStore | None, verifiers: Verifiers | None, offers: Sequence[Offer]
) -> list[ReadEvent | Verdict]:
    """Runs in a thread. Without a store, duplicates are not looked for."""
    known: set[str] = set()
    if store is not None:
        # If it cannot be read, the write that follows will say what is wrong with it.
        with contextlib.suppress(MeshconsoleError):
            known = store.known([offer.claimed for offer in offers if offer.claimed])
    asked = [offer for offer in offers if offer.claimed not in known] if known else offers
    checked = iter(verifiers.check(asked) if verifiers is not None else map(check, asked))
    return [DUPLICATE if offer.claimed in known else next(checked) for offer in offers]


def _rest_failed(error: BaseException) -> None:
    log.error("ending an idle process failed", exc_info=error)
