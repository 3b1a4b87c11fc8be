"""The documents say what is true: the reference matches the code, links lead somewhere, commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from meshconsole.cli.main import COMMANDS
from scripts.reference import written

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_TEST = re.compile(r"`([a-z0-9_/]+\.py)::([a-z0-9_]+)`")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
_CODE = r"(?:^ {4,}(?:\.venv/bin/)?|`)"
_COMMAND = re.compile(_CODE + r"meshconsole ([a-z][a-z-]*)", re.MULTILINE)
_TARGET = re.compile(_CODE + r"make ([a-z][a-z0-9-]*)", re.MULTILINE)


def test_what_is_written_from_the_code_is_what_the_code_says() -> None:
    stale = [str(place) for place, content in written().items() if place.read_text() != content]
    assert not stale, "run: make reference"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    targets = [target for target in _LINK.findall(path.read_text()) if "://" not in target]
    assert not [target for target in targets if not (path.parent / target).exists()]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_targets_exist(path: Path) -> None:
    text = path.read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert not set(_COMMAND.findall(text)) - set(COMMANDS)
    assert not set(_TARGET.findall(text)) - targets


def test_the_tests_that_hold_a_rule_exist() -> None:
    named = _TEST.findall((ROOT / "docs/conformance.md").read_text())
    assert len(named) > 100
    known = {path: (ROOT / "tests" / path).read_text() for path, _ in named}
    assert not [f"{path}::{name}" for path, name in named if f"def test_{name}(" not in known[path]]


def test_each_decision_has_a_number_of_its_own() -> None:
    paths = sorted((ROOT / "docs/decisions").glob("*.md"))
    numbers = [int(path.name[:4]) for path in paths]
    assert numbers == list(range(1, len(paths) + 1))
    headings = [path.read_text().partition("\n")[0] for path in paths]
    assert not [
        heading
        for number, heading in zip(numbers, headings, strict=True)
        if not heading.startswith(f"# {number}. ")
    ]
