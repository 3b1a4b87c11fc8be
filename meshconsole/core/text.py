"""The one chokepoint for text that came from outside. Pure.

A terminal obeys what it is sent: ESC starts an escape sequence, OSC 52 writes the clipboard, C1
bytes do the same in eight bits, bidirectional overrides reorder what is read. Every string that a
peer, a client or a file could have chosen passes through `safe()` before it is drawn or logged.
"""

from __future__ import annotations

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_SPACES = frozenset("\n\r\t\u00a0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B))))


def safe(text: str, limit: int = 0) -> str:
    """`text` on one line with every control, format, surrogate and private character replaced.

    Newlines and tabs become spaces. With `limit` > 0 the result has at most that many characters,
    the last one "~" if something was cut. The result is plain text: callers draw it without markup.
    """
    if limit and len(text) > 4 * limit:
        text = text[: 4 * limit]
    if not (text.isascii() and text.isprintable()):
        text = "".join(_safe_char(c) for c in text)
    if limit and len(text) > limit:
        text = text[: limit - 1] + "~"
    return text


def safe_lines(text: str, limit: int = 0) -> list[str]:
    """Each line of `text` made safe; for the full view of a message."""
    return [safe(line, limit) for line in text.splitlines()]


def _safe_char(char: str) -> str:
    """What Python calls printable has no power over a terminal: no control, format, surrogate, private
    or unassigned character. Wide and narrow spaces, which it does not, become plain ones."""
    if char.isprintable():
        return char
    return " " if char in _SPACES else REPLACEMENT
