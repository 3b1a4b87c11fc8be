"""Names and paths of files that others chose: what may become one on this disk. Pure.

What would lead elsewhere, cannot be written there or has power over a terminal is refused.
"""

from __future__ import annotations

import unicodedata

from meshconsole.core.errors import RemoteError
from meshconsole.core.text import safe

MAX_NAME_BYTES = 255
"""What file systems take (POSIX NAME_MAX on those in use)."""

MAX_PATH_NAMES = 64


def check_name(name: str) -> str:
    """The name itself. Raises RemoteError("bad-name")."""
    if name in ("", ".", ".."):
        raise RemoteError("bad-name", f'"{name}" is not a name of a file.')
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise RemoteError("bad-name", f"The name {safe(ascii(name), 80)} is not UTF-8.") from None
    if size > MAX_NAME_BYTES:
        raise RemoteError(
            "bad-name", f"The name {safe(name, 40)} has {size} bytes; {MAX_NAME_BYTES} are allowed."
        )
    if "/" in name:
        raise RemoteError("bad-name", f"The name {safe(name, 80)} holds a slash.")
    if any(unicodedata.category(char) == "Cc" for char in name):
        raise RemoteError("bad-name", f"The name {safe(name, 80)} holds a control character.")
    return name


def check_path(path: str) -> tuple[str, ...]:
    """The names of a relative path. Raises RemoteError("bad-name")."""
    names = tuple(path.split("/"))
    if len(names) > MAX_PATH_NAMES:
        raise RemoteError("bad-name", f"The path {safe(path, 80)} is over {MAX_PATH_NAMES} folders deep.")
    for name in names:
        check_name(name)
    return names
