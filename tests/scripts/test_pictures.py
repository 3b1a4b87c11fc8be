"""The pictures in docs/pictures are those of the console as it is. To draw them again: make pictures"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from meshconsole.console.actions import PANES
from meshconsole.console.themes import load_themes, shipped_folder
from scripts.pictures import PICTURES, README, panes_and_themes

if TYPE_CHECKING:
    from pathlib import Path

SVG = "{http://www.w3.org/2000/svg}"


async def test_they_show_the_console_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("NO_COLOR", raising=False)
    time.tzset()
    drawn = await panes_and_themes()
    for name, svg in drawn.items():
        assert (PICTURES / name).read_text() == svg, f"{name} is out of date: make pictures"


def test_there_is_one_of_every_pane_and_theme_and_no_other() -> None:
    themes, _ = load_themes([shipped_folder()])
    wanted = {*(f"pane-{pane}.svg" for pane in PANES), *(f"theme-{name}.svg" for name in themes), *README}
    assert {path.name for path in PICTURES.iterdir()} == wanted


@pytest.mark.parametrize("path", sorted(PICTURES.glob("*.svg")), ids=lambda path: path.stem)
def test_each_is_drawn_in_the_colours_of_its_theme(path: Path) -> None:
    themes, _ = load_themes([shipped_folder()])
    theme = themes[path.stem.removeprefix("theme-") if path.stem.startswith("theme-") else "field-dark"]
    root = ElementTree.fromstring(path.read_text())
    used = {part.get("fill") for part in root.iter() if part.get("fill")}
    assert used <= {colour.lower() for colour in theme.colours.values()}
    assert {theme.colours["background"], theme.colours["text"]} <= used
    texts = [part.text or "" for part in root.iter(f"{SVG}text")]
    assert any("falcon-3" in text for text in texts)
