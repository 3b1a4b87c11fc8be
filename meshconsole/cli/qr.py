"""A QR code in plain characters: no colours, no escape sequences, for any terminal or printer."""

from __future__ import annotations

import sys

import segno

QUIET_ZONE = 2
"""Modules of empty border. The standard asks for 4; readers manage with 2, and 80x24 needs the room."""

_HALVES = {(False, False): "█", (False, True): "▀", (True, False): "▄", (True, True): " "}
"""Light modules are drawn, since most terminals are dark; readers take either polarity."""


def qr_lines(text: str) -> list[str]:
    """Two modules to a character where the terminal has half blocks, else "##" for a light module."""
    code = segno.make(text, error="l", micro=False)
    rows = [[bool(module) for module in row] for row in code.matrix_iter(border=QUIET_ZONE)]
    if not _has_half_blocks():
        return ["".join("  " if dark else "##" for dark in row).rstrip() for row in rows]
    if len(rows) % 2:
        rows.append([True] * len(rows[0]))
    return [
        "".join(_HALVES[above, below] for above, below in zip(rows[i], rows[i + 1], strict=True)).rstrip()
        for i in range(0, len(rows), 2)
    ]


def _has_half_blocks() -> bool:
    try:
        "█▀▄".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
