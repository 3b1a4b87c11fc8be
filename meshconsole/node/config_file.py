"""The configuration of a home: read in layers, checked whole, written back without losing comments."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from meshconsole.core import config as core
from meshconsole.core.errors import Fatal
from meshconsole.crypto.private_file import write_private

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from meshconsole.core.home import Home


def load_config(
    home: Home, settings: Iterable[str] = (), environment: Mapping[str, str] | None = None
) -> core.Config:
    """defaults < config.toml < MESHCONSOLE_* < `settings` ("section.key=value"). Raises ConfigError."""
    layers, problems = _layers(home, settings, os.environ if environment is None else environment)
    try:
        config = core.build_config(layers)
    except core.ConfigError as error:
        raise core.ConfigError(problems + error.problems) from None
    if problems:
        raise core.ConfigError(problems)
    return config


def check_config(home: Home) -> list[core.Problem]:
    """Every problem of the file and of the environment; empty when all is well."""
    try:
        load_config(home)
    except core.ConfigError as error:
        return error.problems
    return []


def write_values(home: Home, values: core.Values) -> None:
    """Sets keys in config.toml, checked first; comments and the order of the file stay."""
    import tomlkit

    document = tomlkit.parse(_read(home.config)) if home.config.exists() else tomlkit.document()
    current = core.build_config([(str(home.config), document.unwrap())])
    typed = core.to_values(core.with_values(current, values))
    for section, entries in values.items():
        table = document.setdefault(section, tomlkit.table())
        for key in entries:
            table[key] = typed[section][key]
    write_private(home.config, tomlkit.dumps(document).encode())


def render_config(config: core.Config) -> str:
    """A new config.toml: every key with its value, each section headed by what it is for."""
    import tomlkit

    document = tomlkit.document()
    document.add(tomlkit.comment("meshconsole. Check with: meshconsole config check"))
    values = core.to_values(config)
    for name, section in core.section_types().items():
        table = tomlkit.table()
        table.add(tomlkit.comment((section.__doc__ or "").splitlines()[0]))
        for key, value in values[name].items():
            table.add(key, list(value) if isinstance(value, tuple) else value)
        document.add(tomlkit.nl())
        document.add(name, table)
    return tomlkit.dumps(document)


def _layers(
    home: Home, settings: Iterable[str], environment: Mapping[str, str]
) -> tuple[list[tuple[str, core.Values]], list[core.Problem]]:
    layers: list[tuple[str, core.Values]] = []
    problems: list[core.Problem] = []
    if home.config.exists():
        values, wrong = core.parse_toml(str(home.config), _read(home.config))
        layers.append((str(home.config), values))
        problems += wrong
    layers.append(("environment", core.parse_environment(environment)))
    values, wrong = core.parse_settings(settings)
    layers.append(("--set", values))
    return layers, problems + wrong


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Fatal(f"{path} is not UTF-8 text.", hint="Restore it or delete it.") from error
    except OSError as error:
        raise Fatal(f"Cannot read {path}: {error.strerror}.", hint="Check the file's owner.") from error
