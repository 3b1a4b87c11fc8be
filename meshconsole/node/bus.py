"""The one place where rooms publish what happened, and where others listen.

A happening is any frozen struct. Listeners are called in order, on the node's loop, and must not
block. A listener that raises is reported and does not keep the others from hearing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from meshconsole.core.errors import MeshconsoleError

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)


class Bus:
    def __init__(self) -> None:
        self._listeners: list[tuple[type | tuple[type, ...], Callable[..., None]]] = []
        self._hearing: dict[type, list[Callable[..., None]]] = {}
        """Who listens to that very type, once one of it was published."""

    def listen(self, kinds: type | tuple[type, ...], listener: Callable[..., None]) -> None:
        self._listeners.append((kinds, listener))
        self._hearing.clear()

    def publish(self, happening: object) -> None:
        hearing = self._hearing.get(type(happening))
        if hearing is None:
            hearing = [listener for kinds, listener in self._listeners if isinstance(happening, kinds)]
            self._hearing[type(happening)] = hearing
        for listener in hearing:
            try:
                listener(happening)
            except MeshconsoleError as error:
                log.warning("%s while handling %s", error.sentence, type(happening).__name__)
            except Exception:
                log.exception("a listener failed on %s", type(happening).__name__)
