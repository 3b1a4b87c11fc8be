"""Where the details of an unexpected error go: a file of the user's own, never the terminal."""

from __future__ import annotations

import os
import tempfile
import time
import traceback
from pathlib import Path


def write_details(error: Exception, home: str | None) -> str:
    """Appends the traceback (without values, which may be secret) to a private file; returns its name."""
    text = "".join(traceback.format_exception(error))
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    try:
        from meshconsole.cli.home import home_of

        folder = home_of(home).path
        place = folder / "bugs.log"
        if not folder.is_dir():
            descriptor, name = tempfile.mkstemp(prefix="meshconsole-bug-", suffix=".log")
            place = Path(name)
        else:
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "a") as file:
            file.write(f"--- {stamp}\n{text}")
    except OSError as problem:
        return f"no file, because none can be written ({problem.strerror})"
    return str(place)
