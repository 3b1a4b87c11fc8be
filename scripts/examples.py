"""Examples of commands for the reference: taken from the transcripts, which a test plays (tests/cli)."""

from __future__ import annotations

import shlex
from functools import cache
from pathlib import Path
from typing import NamedTuple

TRANSCRIPTS = Path(__file__).resolve().parent.parent / "tests" / "cli" / "transcripts"
MOST_LINES = 24
MOST_COLUMNS = 160


class Example(NamedTuple):
    words: list[str]
    lines: list[str]
    """As the transcript has it: what is typed, then what is printed."""


def example_of(*words: str) -> list[str]:
    """Of `meshconsole WORDS...`, the first that is short enough to read, rather one that ends well and
    shows no hostile name; [] for none."""
    fitting = [example for example in _examples() if example.words[1 : 1 + len(words)] == list(words)]
    return min(fitting, key=_oddity).lines if fitting else []


@cache
def _examples() -> tuple[Example, ...]:
    found: list[Example] = []
    for path in sorted(TRANSCRIPTS.glob("*.txt")):
        for part in path.read_text().split("\n\n"):
            lines = [line for line in part.strip("\n").split("\n") if not line.startswith("#")]
            if lines and lines[0].startswith("$ ") and _is_readable(lines):
                found.append(Example(shlex.split(lines[0].removeprefix("$ ").partition(" < ")[0]), lines))
    return tuple(found)


def _is_readable(lines: list[str]) -> bool:
    return len(lines) <= MOST_LINES and all(len(line) <= MOST_COLUMNS for line in lines)


def _oddity(example: Example) -> int:
    odd = ("exit ", "! ")
    return 2 * any(line.startswith(odd) for line in example.lines) + (
        "\N{REPLACEMENT CHARACTER}" in "".join(example.lines)
    )
