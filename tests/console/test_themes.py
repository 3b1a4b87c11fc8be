from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.console.themes import COLOURS, BadTheme, contrast, load_theme, load_themes, shipped_folder

if TYPE_CHECKING:
    from pathlib import Path

GOOD = 'name = "mine"\ntitle = "Mine"\ndark = true\n[colors]\n' + "".join(
    f'{name} = "#{number:06x}"\n' for number, name in enumerate(COLOURS)
)


def test_the_shipped_themes_are_sound() -> None:
    themes, problems = load_themes([shipped_folder()])
    assert problems == []
    assert {"field-dark", "field-light", "field-red", "high-contrast"} <= themes.keys()


@pytest.mark.parametrize("name", sorted(load_themes([shipped_folder()])[0]))
def test_the_shipped_themes_can_be_read(name: str) -> None:
    theme = load_themes([shipped_folder()])[0][name]
    colours = theme.colours
    for ink, paper, least in (
        ("text", "background", 4.5),
        ("text", "panel", 4.5),
        ("cursor-text", "cursor", 4.5),
        *((tone, "background", 3.0) for tone in ("dim", "accent", "good", "warn", "bad", "focus")),
        ("text", "cursor", 3.0),
        ("dim", "cursor", 1.4),
        ("background", "bad", 4.5),
    ):
        assert contrast(colours[ink], colours[paper]) >= least, (ink, paper)
    dark_paper = contrast(colours["background"], "#000000") < contrast(colours["background"], "#ffffff")
    assert dark_paper == theme.dark


def test_a_folder_of_ones_own_wins_and_a_bad_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(GOOD)
    (tmp_path / "bad.toml").write_text("name = 3")
    themes, problems = load_themes([shipped_folder(), tmp_path, tmp_path / "absent"])
    assert themes["mine"].title == "Mine"
    assert len(problems) == 1
    assert problems[0].startswith("Theme bad.toml:")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text.replace("#000001", "red"), "colors.panel must be a colour"),
        (lambda text: text.replace('dim = "', 'dimm = "'), "colors.dimm is unknown; colors.dim must"),
        (lambda text: text.replace("true", '"yes"'), "dark must be true or false"),
        (lambda text: text.replace('"Mine"', '""'), "title must be a text"),
        (lambda text: text.replace('"mine"', '"../mine"'), "name must be lower-case"),
        (lambda text: text.replace('"mine"', '"yours"'), "name is yours, the file's is mine"),
        (lambda text: text.replace("[colors]", "[colours]"), "[colors] is missing"),
        (lambda text: 'extra = "\\u001b[2J"\n' + text, "extra is unknown"),
        (lambda text: text + "[[", "cannot be read"),
        (lambda text: text + "#" * 20_000, "larger than"),
    ],
)
def test_every_field_is_checked(tmp_path: Path, change: object, reason: str) -> None:
    assert callable(change)
    path = tmp_path / "mine.toml"
    path.write_text(change(GOOD))
    with pytest.raises(BadTheme) as refused:
        load_theme(path)
    assert reason in str(refused.value)
    assert "\x1b" not in str(refused.value)


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadTheme, match="cannot be read"):
        load_theme(tmp_path / "mine.toml")
