"""The beginning of a file as lines of text, if it is text. Pure."""

from __future__ import annotations

from meshconsole.core.errors import Refused

MAX_LINES = 1000
MAX_LINE_CHARS = 1000


def as_text(data: bytes) -> tuple[str, ...]:
    """Whoever draws them makes them safe. Raises Refused for what is no text."""
    # A character may be cut in two where the beginning ends.
    text = data.decode("utf-8", "replace")
    strange = text[:-1].count("\ufffd") + sum(char < " " and char not in "\t\n\r\f" for char in text)
    if strange * 50 > len(text):
        raise Refused("invalid", "This is not a text.", hint="Fetch it, and open it with its own program.")
    return tuple(line[:MAX_LINE_CHARS] for line in text.splitlines()[:MAX_LINES])
