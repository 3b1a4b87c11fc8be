"""The QR code on the terminal is the code of the text, module for module."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import pytest
import segno

from meshconsole.cli.qr import QUIET_ZONE, qr_lines

INVITE = "MC1-" + "ABCDEFGH234567" * 13
HALVES = {"█": (0, 0), "▀": (0, 1), "▄": (1, 0), " ": (1, 1)}


def lines(text: str, encoding: str) -> list[str]:
    with redirect_stdout(io.TextIOWrapper(io.BytesIO(), encoding=encoding)):
        return qr_lines(text)


def expected(text: str) -> list[list[int]]:
    code = segno.make(text, error="l", micro=False)
    return [list(row) for row in code.matrix_iter(border=QUIET_ZONE)]


@pytest.mark.parametrize("text", ["A", INVITE])
def test_half_blocks(text: str) -> None:
    wanted = expected(text)
    read: list[list[int]] = []
    for line in lines(text, "utf-8"):
        pairs = [HALVES[char] for char in line]
        read += [[above for above, _ in pairs], [below for _, below in pairs]]
    assert read[: len(wanted)] == wanted


@pytest.mark.parametrize("text", ["A", INVITE])
def test_ascii(text: str) -> None:
    read = [
        [0 if line[i : i + 2] == "##" else 1 for i in range(0, len(line), 2)] for line in lines(text, "ascii")
    ]
    assert read == expected(text)


def test_a_long_invite_fits_a_small_terminal() -> None:
    shown = lines(INVITE.ljust(195, "A"), "utf-8")
    assert len(shown) < 24
    assert max(map(len, shown)) <= 80
