"""Where the test vectors are and how they are read. They lie beside the checkout, not in it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "vectors"


def path_of(name: str) -> Path:
    """The file of that name; skips the test when it is not there."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"the test vectors are not beside the checkout: {path} does not exist")
    return path


def load(name: str) -> Any:  # noqa: ANN401
    path = path_of(name)
    raw = path.read_bytes()
    return json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)


def cases(name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(group, test) for each test of a Wycheproof or ACVP file."""
    return [(group, test) for group in load(name)["testGroups"] for test in group["tests"]]
