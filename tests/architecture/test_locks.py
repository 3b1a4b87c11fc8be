"""The locks: every pin hashed, no registry named, product and dev in agreement with pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PINNED = [path for path in LOCKS if path.name != "overrides.txt"]
_PIN = re.compile(r"^([a-z0-9-]+)==([^ ;\\]+)(?: ; ([^\\]+))?", re.MULTILINE)


def pins(path: Path) -> dict[tuple[str, str], str]:
    """(name, marker) -> version."""
    return {(name, marker.strip()): version for name, version, marker in _PIN.findall(path.read_text())}


@pytest.mark.parametrize("path", PINNED, ids=lambda path: path.name)
def test_every_pin_has_a_hash(path: Path) -> None:
    blocks = re.split(r"\n(?=[a-z0-9-]+==)", path.read_text())
    unhashed = [block.splitlines()[0] for block in blocks if "==" in block and "--hash=sha256:" not in block]
    assert pins(path)
    assert not unhashed


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_no_registry_is_named(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    assert "index-url" not in text.lower()


def test_development_uses_the_product_s_pins() -> None:
    product, web, dev = (pins(ROOT / f"requirements/{name}.txt") for name in ("product", "web", "dev"))
    assert {pin: web.get(pin) for pin in product} == product
    assert {pin: dev.get(pin) for pin in web} == web


def test_product_locks_what_the_project_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = project["dependencies"]
    assert project["optional-dependencies"]["web"] == (ROOT / "requirements/web.in").read_text().split()[2:]
    listed = (ROOT / "requirements/product.in").read_text().split("\n")
    assert {Requirement(line) for line in listed if line} == {Requirement(line) for line in declared}
