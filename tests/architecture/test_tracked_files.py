"""The repository is about the product, not about the machine that it was written on."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Written in pieces, so that this file does not find itself.
_OF_ONE_MACHINE = re.compile(
    b"|".join(
        [
            rb"(?<![\w.~/-])/" + rb"home/\w+",
            rb"(?<![\w.~/-])/" + rb"root/\w+",
            rb"(?<![\w.~/-])/" + rb"Users/\w+",
            rb"(?<![\w.~/-])/" + rb"work/\w+",
            rb"[A-Z]:\\\\?" + rb"Users",
            rb"\.pyenv" + rb"/versions",
        ]
    )
)


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:  # not a clone, for example an unpacked archive
        return [path for path in ROOT.rglob("*") if path.is_file() and ".venv" not in str(path)]
    return [path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"see /" + b"home/ann/x", True),
        (b"https://example.org/" + b"home/x", False),
        (b"~/" + b"work/x", False),
    ],
)
def test_the_probe(text: bytes, found: bool) -> None:
    assert bool(_OF_ONE_MACHINE.search(text)) == found


def test_no_tracked_file_holds_a_path_of_one_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match.group().decode()}"
        for path in tracked_files()
        for match in _OF_ONE_MACHINE.finditer(path.read_bytes())
    ]
    assert not found


def test_the_checkout_s_own_place_is_in_no_file() -> None:
    place = str(ROOT).encode()
    assert not [path for path in tracked_files() if place in path.read_bytes()]
