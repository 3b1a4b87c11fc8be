"""What a command prints: plain tables for people, JSON for programs. All foreign text is made safe here.

The JSON is the status structs themselves (docs/protocol.md), in ASCII: what a peer chose can never
reach the terminal as a control character.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def printable(text: str) -> str:
    """Sentences may have several lines; each one is made safe, and fits the terminal's encoding."""
    return encodable("\n".join(safe(line) for line in text.split("\n")))


def encodable(text: str) -> str:
    """`text` as far as standard output can show it, "?" elsewhere."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def say(text: str) -> None:
    print(printable(text))


def print_json(value: object) -> None:
    """One line. Structs keep their fields; the tag that tells messages apart is left out."""
    plain = msgspec.to_builtins(value)
    if isinstance(plain, dict) and getattr(type(value), "__struct_config__", None) is not None:
        tag_field = type(value).__struct_config__.tag_field  # type: ignore[attr-defined]
        plain.pop(tag_field, None) if tag_field else None
    print(json.dumps(plain, ensure_ascii=True, separators=(",", ":")).replace("\x7f", "\\u007f"))


def print_table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, right: frozenset[int] | None = None
) -> None:
    """Columns as wide as their widest cell; those in `right` are aligned to the right."""
    cells = [[encodable(safe(cell)) for cell in row] for row in rows]
    titles = [head.upper() for head in heads]
    widths = [max(map(columns, column)) for column in zip(titles, *cells, strict=True)]
    for row in [titles, *cells]:
        padded = [
            _pad(cell, width, index in (right or ()), index == len(row) - 1)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(padded).rstrip())


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """A name and a value on each line; facts without a value are left out."""
    shown = [(name, value) for name, value in facts if value]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"{name:{width}}  {encodable(safe(value))}")


def columns(text: str) -> int:
    """How many terminal columns `text` takes (UAX #11: wide characters take two, combining ones none)."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def _pad(cell: str, width: int, right: bool, last: bool) -> str:
    blanks = " " * (width - columns(cell))
    if right:
        return blanks + cell
    return cell if last else cell + blanks
