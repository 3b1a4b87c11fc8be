"""Counts and negotiations take a thread's time: each client has a part of it, and waits for more.

They are not refused: who reconciles a large set or counts much is only slower than the thread could be.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from meshconsole.relay.session import Session

T = TypeVar("T")


def in_turn(session: Session, loop: asyncio.AbstractEventLoop, do: Callable[[T], None], what: T) -> None:
    """Now, or when the client's part of the time lets it."""
    wait_s = session.work.delay(loop.time())
    if wait_s:
        loop.call_later(wait_s, do, what)
    else:
        do(what)


@contextmanager
def charged(session: Session, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """In the thread: what is done there is the client's."""
    began = time.perf_counter()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(_charge, session, loop, time.perf_counter() - began)


def _charge(session: Session, loop: asyncio.AbstractEventLoop, took_s: float) -> None:
    session.work.take(took_s, loop.time())
