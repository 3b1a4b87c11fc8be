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

    def listen(self, kinds: type | tuple[type, ...], listener: Callable[..., None]) -> None:
        self._listeners.append((kinds, listener))

    def publish(self, happening: object) -> None:
        for kinds, listener in self._listeners:
            if not isinstance(happening, kinds):
                continue
            try:
                listener(happening)
            except MeshconsoleError as error:
                log.warning("%s while handling %s", error.sentence, type(happening).__name__)
            except Exception:
                log.exception("a listener failed on %s", type(happening).__name__)
