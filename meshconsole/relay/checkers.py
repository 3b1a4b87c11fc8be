"""Those who check offered events: threads, and processes for signatures where the mode allows them.

With a process, the loop itself reads and hashes what came, if it is not large: a thread that did it would
wait for the interpreter before and after each batch, and the process for the thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from meshconsole.core.errors import MeshconsoleError
from meshconsole.core.verdict import DUPLICATE, Verdict
from meshconsole.relay.checking import FORGED, check_form
from meshconsole.relay.threads import LoopThreads
from meshconsole.relay.verifiers import REST_S, Verifiers
from meshconsole.relay.verify import has_valid_signature

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from meshconsole.core.sections import PerformanceMode
    from meshconsole.relay.event import ReadEvent
    from meshconsole.relay.pipeline import Offer
    from meshconsole.relay.store import EventStore

T = TypeVar("T")

MAX_CORES = 4

FEW_BYTES = 128 * 1024
"""So much is read and hashed on the loop itself, in half a millisecond, where processes check signatures."""


class Checkers:
    """In `full` mode with processes that last, in `balanced` with one while much comes, in `saver` with
    threads alone. Made on the loop that hears the results."""

    def __init__(self, store: EventStore, mode: PerformanceMode) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        # One core is left to the loop and the writer: a process more than that makes all of them slower.
        beside = max(1, min(os.cpu_count() or 1, MAX_CORES) - 1)
        self._threads = LoopThreads(1 if mode == "balanced" else beside, "relay-verify")
        self._verifiers: Verifiers | None = None
        if mode == "full":
            self._verifiers = Verifiers(beside, self._threads)
        elif mode == "balanced":
            self._verifiers = Verifiers(1, self._threads, lasting=False)
        self._resting: asyncio.TimerHandle | None = None
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def check(
        self,
        offers: Sequence[Offer],
        done: Callable[[list[ReadEvent | Verdict]], None],
        failed: Callable[[BaseException], None],
        *,
        looking: bool,
    ) -> None:
        """Calls back on the loop. `looking` for duplicates in the store comes first."""
        self._under_way += 1
        self._idle.clear()
        store = self._store if looking else None
        task = _Task(partial(self._done, done), partial(self._done, failed))
        if self._verifiers is None:
            self._threads.do(lambda: _check_signatures(_read(store, offers)), *task)
        elif looking or sum(offer.size for offer in offers) > FEW_BYTES:
            self._threads.do(partial(_read, store, offers), partial(self._verify, task), task.failed)
        else:
            self._read_here(task, offers)

    async def stop(self) -> None:
        """When what is under way is done."""
        await self._idle.wait()
        if self._resting is not None:
            self._resting.cancel()
        verifiers, self._verifiers = self._verifiers, None
        if verifiers is not None:
            verifiers.close()
        await asyncio.to_thread(self._threads.stop)
        if verifiers is not None:
            await asyncio.to_thread(verifiers.reap)

    def _read_here(self, task: _Task, offers: Sequence[Offer]) -> None:
        try:
            read = _read(None, offers)
        except Exception as error:  # told, as what a thread raises is
            task.failed(error)
        else:
            self._verify(task, read)

    def _verify(self, task: _Task, read: list[ReadEvent | Verdict]) -> None:
        verifiers = self._verifiers
        if verifiers is None or not verifiers.check(read, partial(self._verified, task, read)):
            self._verified(task, read, None)
        if verifiers is not None and self._resting is None:
            self._resting = self._loop.call_later(REST_S, self._rest)

    def _verified(
        self, task: _Task, read: list[ReadEvent | Verdict], checked: list[ReadEvent | Verdict] | None
    ) -> None:
        if checked is not None:
            task.done(checked)
        else:
            self._threads.do(partial(_check_signatures, read), *task)

    def _done(self, tell: Callable[[T], None], result: T) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._idle.set()
        tell(result)

    def _rest(self) -> None:
        self._resting = None
        if self._verifiers is not None and self._verifiers.rest():
            self._resting = self._loop.call_later(REST_S, self._rest)


class _Task(NamedTuple):
    done: Callable[[list[ReadEvent | Verdict]], None]
    failed: Callable[[BaseException], None]


def _read(store: EventStore | None, offers: Sequence[Offer]) -> list[ReadEvent | Verdict]:
    """Without a store, duplicates are not looked for."""
    known: set[str] = set()
    if store is not None:
        # If it cannot be read, the write that follows will say what is wrong with it.
        with contextlib.suppress(MeshconsoleError):
            known = store.known([offer.claimed for offer in offers if offer.claimed])
    return [DUPLICATE if offer.claimed in known else check_form(offer) for offer in offers]


def _check_signatures(read: Sequence[ReadEvent | Verdict]) -> list[ReadEvent | Verdict]:
    return [one if isinstance(one, Verdict) or has_valid_signature(one) else FORGED for one in read]
