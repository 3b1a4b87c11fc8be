"""The configuration read again while the node runs: by command, or by SIGHUP where no terminal hangs up.

All of it or nothing: a file with a problem changes nothing, and every problem is named. What can be
applied at once holds for open connections too; the rest waits for the next start.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from meshconsole.core.config import ConfigError, changed_keys
from meshconsole.core.errors import Fatal
from meshconsole.node.config_file import load_config

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.core.config import Config
    from meshconsole.node.applying import Applying
    from meshconsole.node.ground import Ground

log = logging.getLogger(__name__)


class Reloading:
    def __init__(self, node: Ground, applying: Applying) -> None:
        self._node = node
        self._applying = applying
        self._asked = asyncio.Event()
        self.reread: Callable[[], Config] = lambda: load_config(node.home)
        """As the node was started: with the environment and the settings of then."""
        self.begins: Callable[[], None] = lambda: None
        self.ended: Callable[[str], None] = lambda _: None
        """For who sent the signal, which tells them nothing else: how it went."""

    def ask(self) -> None:
        """Soon, and the outcome is a notice."""
        self._asked.set()

    async def reload(self) -> None:
        """The relay's certificate too, where it has one: it may have been renewed. Raises ConfigError with
        every problem, and Fatal when a file cannot be read."""
        config = await asyncio.to_thread(self.reread)
        if self._node.certificate is not None:
            await asyncio.to_thread(self._node.certificate.reload)
        self._applying.adopt(config)

    async def follow(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            outcome = "The configuration was not read again."
            self.begins()
            try:
                outcome = await self._reload_and_tell()
            finally:
                self.ended(outcome)

    async def _reload_and_tell(self) -> str:
        before = self._node.config
        try:
            await self.reload()
        except ConfigError as error:
            problems = "; ".join(map(str, error.problems))
            return self._tell(f"The configuration was not read again: {problems}", failed=True)
        except Fatal as error:
            return self._tell(f"The configuration was not read again: {error.sentence}", failed=True)
        return self._tell_changes(sorted(changed_keys(before, self._node.config)))

    def _tell_changes(self, changed: list[str]) -> str:
        if not changed:
            return self._tell("The configuration was read again: nothing has changed.")
        self._node.record("config", keys=", ".join(changed), how="read again")
        waiting = [key for key in changed if key in self._applying.waiting]
        rest = f" At the next start: {', '.join(waiting)}." if waiting else ""
        return self._tell(f"The configuration was read again: {', '.join(changed)}.{rest}")

    def _tell(self, text: str, *, failed: bool = False) -> str:
        log.log(logging.ERROR if failed else logging.INFO, "%s", text)
        remedy = "Check it with: meshconsole config check" if failed else ""
        self._node.notice("warning" if failed else "info", text, remedy)
        return text
