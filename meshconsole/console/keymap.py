"""The actions with the keys that this home wants: `keys.toml` in the home. Pure, but for reading the file.

A table `[keys]` gives actions, by id, the keys that replace their own: `"note.flash" = ["ctrl+f", "!"]`. An
empty list takes all keys away; the command stays. What is wrong is named, never fatal.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from meshconsole.console.actions import ACTIONS, Action, key_in_words
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

MAX_BYTES = 16_384
KEPT = ("app.quit", "ctrl+q")
"""The way out is always there."""

_NAME = re.compile(r"(ctrl\+|shift\+|alt\+)*([a-z0-9]|[a-z][a-z_]+[0-9]{0,2}|f[0-9]{1,2})")
_RENAMED = {
    "solidus": "slash",
    "reverse_solidus": "backslash",
    "commercial_at": "at",
    "hyphen_minus": "minus",
    "plus_sign": "plus",
    "low_line": "underscore",
}
"""Where Textual does not call a character by its Unicode name."""


@dataclass(frozen=True, slots=True)
class Keymap:
    """Every action, with its keys. `problems` are sentences for the person."""

    actions: tuple[Action, ...] = ACTIONS
    problems: tuple[str, ...] = ()

    def action(self, action_id: str) -> Action:
        return next(action for action in self.actions if action.id == action_id)

    def key(self, action_id: str) -> str:
        """What a person presses first for it, or the command where no key is left."""
        action = self.action(action_id)
        return key_in_words(action.keys[0]) if action.keys else f":{action.command}"


def read_keymap(path: Path) -> Keymap:
    """The default one where there is no file."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            return Keymap(problems=(f"{path.name} is larger than {MAX_BYTES} bytes.",))
        data = tomllib.loads(raw.decode())
    except FileNotFoundError:
        return Keymap()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        return Keymap(problems=(f"{path.name} cannot be read: {safe(str(error), 120)}.",))
    return remapped(data, path.name)


def remapped(data: Mapping[str, object], source: str) -> Keymap:
    problems = [f"{safe(name, 32)} is unknown" for name in data if name != "keys"]
    wanted = data.get("keys", {})
    if not isinstance(wanted, dict):
        wanted = {}
        problems.append("[keys] must be a table")
    known = {action.id for action in ACTIONS}
    changed: dict[str, tuple[str, ...]] = {}
    for action_id, keys in wanted.items():
        if action_id not in known:
            problems.append(f"there is no action {safe(str(action_id), 40)}")
        elif not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            problems.append(f"{action_id} must be a list of keys")
        else:
            names = [key_name(key) for key in keys]
            problems += [
                f"{action_id}: {safe(key, 24)!r} is no key"
                for key, name in zip(keys, names, strict=True)
                if not name
            ]
            changed[action_id] = tuple(dict.fromkeys(name for name in names if name))
    kept_action, kept_key = KEPT
    if kept_action in changed and kept_key not in changed[kept_action]:
        changed[kept_action] += (kept_key,)
    actions, clashes = _without_clashes(ACTIONS, changed)
    return Keymap(actions, tuple(f"{source}: {problem}." for problem in [*problems, *clashes]))


def key_name(key: str) -> str:
    """Textual's name of a key as a person writes it: "F", "ctrl+f", "!", "space"; "" for none."""
    if len(key) == 1:
        if key.isascii() and key.isalnum():
            return key
        name = unicodedata.name(key, "").lower().replace("-", "_").replace(" ", "_")
        return _RENAMED.get(name, name) if key.isprintable() else ""
    return key if _NAME.fullmatch(key) else ""


def _without_clashes(
    actions: Iterable[Action], changed: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[Action, ...], list[str]]:
    """Who was given a key by the person has it; of two such, the first in the list of actions."""
    owner: dict[str, str] = {}
    clashes: list[str] = []
    for action in sorted(actions, key=lambda action: action.id not in changed):
        for key in changed.get(action.id, action.keys):
            holder = owner.setdefault(key, action.id)
            if holder != action.id:
                clashes.append(f"{key_in_words(key)} is for {holder} and {action.id}; {holder} has it")
    return tuple(
        replace(
            action,
            keys=tuple(key for key in changed.get(action.id, action.keys) if owner[key] == action.id),
        )
        for action in actions
    ), clashes
