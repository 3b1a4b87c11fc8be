"""The dashboard for Grafana asks only for figures that a node gives, and for all of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec

from meshconsole.node.metrics import render
from tests.cli.falcon import STATUS

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "meshconsole.json"
STATED = msgspec.structs.replace(
    STATUS, storage=msgspec.structs.replace(STATUS.storage, disk_free_files=100_000)
)


def given() -> dict[str, set[str]]:
    """Each figure that a node gives, and the labels that it has."""
    figures: dict[str, set[str]] = {}
    for line in render(STATED).splitlines():
        if not line.startswith("#"):
            name, _, rest = line.partition(" ")[0].partition("{")
            figures.setdefault(name, set()).update(re.findall(r'(\w+)="', rest))
    return figures


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def expressions() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def test_every_figure_that_it_names_exists_and_none_is_left_out() -> None:
    named = {name for expr in expressions() for name in re.findall(r"meshconsole_\w+", expr)}
    assert named == given().keys()


def test_counters_are_shown_as_rates_and_nothing_else_is() -> None:
    for expr in expressions():
        for name in re.findall(r"meshconsole_\w+", expr):
            assert (f"rate({name}" in expr) == name.endswith("_total")


def test_the_labels_that_it_groups_by_exist() -> None:
    for expr in expressions():
        for labels in re.findall(r"sum by \(([^)]*)\)", expr):
            [name] = re.findall(r"meshconsole_\w+", expr)
            assert {*labels.split(", ")} - {"instance"} <= given()[name]


def test_panels_stand_side_by_side() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells
