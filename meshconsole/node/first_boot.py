"""Joining a team without a keyboard: an invite in a file, as on the boot partition of a new Raspberry Pi.

The file is wiped once the device belongs to the team. What stands in the way is logged and, where only a
new invite helps, written beside it, because whoever prepared the card sees nothing else of this device.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from meshconsole.core.errors import Fatal, MeshconsoleError, Refused, RemoteError, Unavailable
from meshconsole.core.text import safe
from meshconsole.mesh.join import PROPOSED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

log = logging.getLogger(__name__)

MAX_INVITE_FILE = 4096
FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 60.0


class InviteFile:
    """`join` takes an invite's text and returns the team's name (Teamwork.join); `team` is the name of the
    team that this device belongs to, "" for none."""

    def __init__(self, path: Path, join: Callable[[str], Awaitable[str]], team: Callable[[], str]) -> None:
        self.path = path
        self._join = join
        self._team = team

    @property
    def answer(self) -> Path:
        """Beside the invite: why it was of no use."""
        return self.path.with_name(f"{self.path.name}.problem.txt")

    async def use(self) -> None:
        """Returns when the device has joined, when there is no file, or when this invite never will do."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                text = await asyncio.to_thread(self._read)
                if text is None:
                    return
                team = self._team() or await self._join(text)
            except (Unavailable, RemoteError) as error:
                log.warning("not joined yet, next try in %.0f s: %s", pause, error.sentence)
            except MeshconsoleError as error:
                await asyncio.to_thread(self._explain, str(error))
                if not (isinstance(error, Refused) and error.code == PROPOSED):
                    log.error("the invite in %s is of no use: %s", self.path, error)
                    return
                log.warning("not joined yet, next try in %.0f s: %s", pause, error.sentence)
            else:
                log.info("this device belongs to the team %s; %s is wiped", safe(team, 64), self.path)
                await asyncio.to_thread(self._wipe)
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    def _read(self) -> str | None:
        try:
            with self.path.open("rb") as file:
                content = file.read(MAX_INVITE_FILE + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Fatal(f"{self.path} cannot be read: {error.strerror}.") from error
        try:
            text = content.decode("utf-8-sig").strip()
        except UnicodeDecodeError as error:
            raise Fatal(f"{self.path} is not text.", hint="Write the invite alone into it.") from error
        if len(content) > MAX_INVITE_FILE or not text:
            raise Fatal(f"{self.path} holds no invite.", hint="Write the invite alone into it.")
        return text

    def _wipe(self) -> None:
        """Overwritten first: a card keeps what was deleted. It may keep old sectors all the same, but a used
        invite admits nobody."""
        try:
            size = self.path.stat().st_size
            with self.path.open("r+b") as file:
                file.write(bytes(size))
                file.flush()
                os.fsync(file.fileno())
            self.path.unlink()
            self.answer.unlink(missing_ok=True)
        except OSError as error:
            log.error("%s was used but cannot be removed: %s", self.path, error.strerror)

    def _explain(self, problem: str) -> None:
        try:
            self.answer.write_text(f"{problem}\n", encoding="utf-8")
        except OSError as error:
            log.error("%s cannot be written: %s", self.answer, error.strerror)
