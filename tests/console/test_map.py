"""The map of a large team keeps to its room and says what it leaves out."""

from __future__ import annotations

import pytest

from meshconsole.console.ink import length
from meshconsole.console.panes.map import draw
from meshconsole.core.mesh_map import MapRow

NPUBS = [f"{number:064x}" for number in range(500)]
ROWS = tuple(
    MapRow(npub, f"device-{number}", tuple(NPUBS[:3]), via="hub" if number > 5 else "", here=number == 0)
    for number, npub in enumerate(NPUBS)
)
HOSTILE = MapRow("e" * 64, "a\x1b]52;c;aGk=\x07\u202e[@click=app.quit]b", via="\x1b[31mhub")


def texts(rows: tuple[MapRow, ...], width: int, height: int) -> list[str]:
    return ["".join(text for text, _ in line) for line in draw(rows, width, height)]


@pytest.mark.parametrize(("width", "height"), [(48, 12), (78, 20), (158, 44)])
def test_a_large_team(width: int, height: int) -> None:
    lines = texts(ROWS, width, height)
    assert len(lines) <= height
    assert any(line.startswith("and ") and "more: meshconsole map" in line for line in lines)
    assert max(length([(line.partition("  via ")[0], "")]) for line in lines) <= width


def test_a_hostile_name_is_only_text() -> None:
    for line in texts((ROWS[0], HOSTILE), 78, 20):
        assert line.isprintable()
