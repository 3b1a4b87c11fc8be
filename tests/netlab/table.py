"""Writes docs/faults.md from what the last runs of the fault tests measured. Run by `make lab`."""

from __future__ import annotations

from pathlib import Path

from tests.netlab.faults import ELSEWHERE, FAULTS
from tests.netlab.figures import load

PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"

HEAD = """# Faults, and what they cost

Whole nodes in network namespaces, on a switch that loses, delays and cuts (`tests/netlab`). `make lab` runs
every fault, which takes a while and needs root, and writes this page; `make test` runs a choice of them. Loss
and delay are those of each port in each direction: two hosts at 20 % lose 36 % between them.

Each figure is of the last run of its test, on two processors that did other things besides. Times are those
at which a status or a note was shown, which may be two seconds late; where a promise is kept only less those
two seconds, the last column says so. "not met" is a promise that this version does not keep.

| fault | promised | measured | |
|---|---|---|---|
"""

TAIL = """
Faults of disks and processes need no network. Each of these tests fails where the promise is not kept.

| fault | promised | tested in |
|---|---|---|
"""


def page() -> str:
    figures = load()
    rows = []
    for key, fault in FAULTS.items():
        figure = figures.get(key)
        text = figure.text if figure is not None else "not measured"
        verdict = figure.verdict if figure is not None else ""
        rows.append(f"| {_cell(fault.what)} | {_cell(fault.promise)} | {_cell(text)} | {verdict} |\n")
    others = [f"| {other.what} | {other.promise} | `{other.test}` |\n" for other in ELSEWHERE]
    return HEAD + "".join(rows) + TAIL + "".join(others)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
