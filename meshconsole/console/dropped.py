"""What a terminal pastes when a file is dropped on it, as the path that it means. Pure.

Terminals write the path as a shell would take it, in quotes or with backslashes, or as a file:// URL.
"""

from __future__ import annotations

import shlex
from urllib.parse import unquote, urlsplit


def path_of(text: str) -> str:
    """The path; the text itself where it is none of these."""
    text = text.strip()
    if text.lower().startswith("file://"):
        parts = urlsplit(text)
        return unquote(parts.path) if parts.netloc in ("", "localhost") else text
    if not any(char in text for char in "'\"\\"):
        return text
    try:
        words = shlex.split(text)
    except ValueError:
        return text  # a name with one quote in it, typed by hand
    return words[0] if len(words) == 1 else text


def looks_like_a_path(text: str) -> bool:
    """Whether a paste is worth asking about: one line that begins as a path does."""
    path = path_of(text)
    return "\n" not in text.strip() and path.startswith(("/", "~/")) and len(path) > 1
