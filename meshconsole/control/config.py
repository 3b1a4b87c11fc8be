"""The configuration: shown, changed, read again. Pure."""

from __future__ import annotations

from typing import Any

from meshconsole.control.wire import Message


class GetConfig(Message, frozen=True):
    """Answered with `ConfigData`."""


class SetConfig(Message, frozen=True):
    """Changes and saves some values. Answered with `ConfigData`; refused as a whole or not at all."""

    values: dict[str, dict[str, Any]]


class ReloadConfig(Message, frozen=True):
    """Reads config.toml again. Answered with `ConfigData`; refused as a whole or not at all."""


class ConfigData(Message, frozen=True):
    """All values by section and key, and those that wait for the node's next start."""

    values: dict[str, dict[str, Any]]
    waiting: tuple[str, ...] = ()


ConfigCommand = GetConfig | SetConfig | ReloadConfig
