"""Themes: TOML files that give each tone a colour. Checked whole before use; never fatal.

A theme is `name`, `title`, `dark` and a table `[colors]` with every key of `COLOURS`, each
"#rrggbb". The name must be the file's. Ours lie in `themes/`; a home may have its own.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import meshconsole
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterable

COLOURS = (
    "background",
    "panel",
    "text",
    "dim",
    "border",
    "focus",
    "accent",
    "good",
    "warn",
    "bad",
    "cursor",
    "cursor-text",
)

DEFAULT_THEME = "field-dark"
MAX_THEME_BYTES = 16_384

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


@dataclass(frozen=True, slots=True)
class Theme:
    name: str
    title: str
    dark: bool
    colours: dict[str, str]


class BadTheme(ValueError):
    """Says which file, which field and why."""


def shipped_folder() -> Path:
    """`meshconsole/themes` of an installed package, `themes` beside the package in a checkout."""
    package = Path(meshconsole.__file__).parent
    installed = package / "themes"
    return installed if installed.is_dir() else package.parent / "themes"


def load_themes(folders: Iterable[Path]) -> tuple[dict[str, Theme], list[str]]:
    """Themes by name, later folders winning, and a sentence for each file that is not one."""
    themes: dict[str, Theme] = {}
    problems: list[str] = []
    for folder in folders:
        for path in sorted(folder.glob("*.toml")) if folder.is_dir() else []:
            try:
                theme = load_theme(path)
            except BadTheme as error:
                problems.append(str(error))
            else:
                themes[theme.name] = theme
    return themes, problems


def load_theme(path: Path) -> Theme:
    """Raises BadTheme with everything that is wrong."""
    shown = safe(path.name, 64)
    try:
        with path.open("rb") as file:
            text = file.read(MAX_THEME_BYTES + 1)
        if len(text) > MAX_THEME_BYTES:
            raise BadTheme(f"Theme {shown}: is larger than {MAX_THEME_BYTES} bytes.")
        data = tomllib.loads(text.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadTheme(f"Theme {shown}: cannot be read: {safe(str(error), 120)}.") from error
    problems = list(_problems(data, path.stem))
    if problems:
        raise BadTheme(f"Theme {shown}: {'; '.join(problems)}.")
    return Theme(data["name"], safe(data["title"], 40), data["dark"], dict(data["colors"]))


def contrast(one: str, other: str) -> float:
    """WCAG 2.1 contrast ratio of two "#rrggbb" colours, 1 to 21."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _problems(data: dict[str, object], stem: str) -> Iterable[str]:
    for field in data.keys() - {"name", "title", "dark", "colors"}:
        yield f"{safe(field, 32)} is unknown"
    name, title, dark, colours = (data.get(field) for field in ("name", "title", "dark", "colors"))
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        yield "name must be lower-case letters, digits and dashes"
    elif name != stem:
        yield f"name is {name}, the file's is {safe(stem, 32)}"
    if not isinstance(title, str) or not title:
        yield "title must be a text"
    if not isinstance(dark, bool):
        yield "dark must be true or false"
    if not isinstance(colours, dict):
        yield "[colors] is missing"
        return
    for field in colours.keys() - set(COLOURS):
        yield f"colors.{safe(str(field), 32)} is unknown"
    for field in COLOURS:
        colour = colours.get(field)
        if not (isinstance(colour, str) and _COLOUR.fullmatch(colour)):
            yield f'colors.{field} must be a colour like "#10130e"'


def _luminance(colour: str) -> float:
    def linear(value: int) -> float:
        share = value / 255
        return share / 12.92 if share <= 0.03928 else ((share + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(int(colour[i : i + 2], 16)) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
