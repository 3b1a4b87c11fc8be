"""The configuration as consoles see and change it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.control import messages as m
from meshconsole.control.config import ConfigCommand, ConfigData, GetConfig, ReloadConfig, SetConfig
from meshconsole.core.config import ConfigError, changed_keys, shown_values

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from meshconsole.node.applying import Applying
    from meshconsole.node.ground import Ground
    from meshconsole.node.reloading import Reloading


class ConfigActs:
    """The part of the node's `ControlHandler` that speaks of the configuration."""

    def __init__(self, node: Ground, applying: Applying, reloading: Reloading) -> None:
        self._node = node
        self._applying = applying
        self._reloading = reloading

    async def handle(self, command: ConfigCommand) -> m.Reply:
        """Raises MeshconsoleError."""
        match command:
            case GetConfig():
                waiting = tuple(sorted(self._applying.waiting))
                return m.done(data=ConfigData(shown_values(self._node.config), waiting))
            case SetConfig(values=values):
                return await self._change(self._applying.set(values), "Saved")
            case ReloadConfig():
                return await self._change(self._reloading.reload(), "Read again")

    async def _change(self, change: Awaitable[None], done: str) -> m.Reply:
        before = self._node.config
        try:
            await change
        except ConfigError as error:
            reasons = "; ".join(f"{problem.key}: {problem.reason}" for problem in error.problems)
            return m.refused("invalid", reasons, "Nothing was changed.")
        changed = sorted(changed_keys(before, self._node.config))
        if changed:
            self._node.record("config", keys=", ".join(changed))
        waiting = [key for key in changed if key in self._applying.waiting]
        sentence = f"{done}; {', '.join(waiting)} takes effect at the next start." if waiting else f"{done}."
        return m.done(sentence, ConfigData(shown_values(self._node.config), tuple(waiting)))
