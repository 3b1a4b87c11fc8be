"""Where the blocks are, and whether they can be reached. While they cannot, nothing is asked of that place.

A place that was out of reach may have lost or found blocks meanwhile, so it is used again only after it was
compared with the index, and that is done while nothing is being written.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from meshconsole.content.store.blocks import BlocksState
from meshconsole.core.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshconsole.content.store.blocks import BlockStore


class Place:
    """Belongs to the loop, but for `files`."""

    def __init__(self, files: BlockStore) -> None:
        self._files = files
        self._writes = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._is_compared = False
        self.state = BlocksState()
        self.doubted = asyncio.Event()
        """Set when somebody could not use it: it should be looked at soon."""

    @property
    def any_files(self) -> BlockStore:
        """Whether or not it may be used."""
        return self._files

    @property
    def files(self) -> BlockStore:
        """Raises Unavailable."""
        if not self._is_compared:
            raise Unavailable(self.state.trouble, hint=self.state.remedy)
        return self._files

    @property
    def is_compared(self) -> bool:
        return self._is_compared

    def compared(self) -> None:
        self._is_compared = True

    def away(self, error: Unavailable) -> None:
        self._is_compared = False
        self.state = BlocksState(self.state.place, error.sentence, error.hint, self.state.warnings)

    def saw(self, state: BlocksState) -> None:
        """What a look at it has found. Trouble closes it."""
        self.state = state
        if state.trouble:
            self._is_compared = False

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around the writing of a block until it is noted for the index. Raises Unavailable."""
        self.files  # noqa: B018 - asks whether it may be used
        self._writes += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._writes -= 1
            if not self._writes:
                self._quiet.set()

    async def quiet(self) -> None:
        """Until nothing is being written any more; to be called while it is closed."""
        await self._quiet.wait()
