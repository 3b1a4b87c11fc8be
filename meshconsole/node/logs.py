"""Where the node's log goes: the terminal, a file of its own, or the journal.

The journal stamps each line itself and takes its severity from a prefix (sd-daemon(3)), so there a
line bears that prefix and no time.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meshconsole.core.home import Home

LOG_BYTES = 1_000_000
PLAIN = "%(asctime)s %(levelname)s %(name)s: %(message)s"
SEVERITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}
"""The levels of syslog (RFC 5424 §6.2.1)."""


class JournalFormatter(logging.Formatter):
    """Each line of a record, a traceback's too, is an entry of the journal with the record's severity."""

    def __init__(self) -> None:
        super().__init__("%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{SEVERITIES.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines() or [""])


def set_up_logging(home: Home, level: str, *, to_file: bool) -> None:
    handler: logging.Handler
    if to_file:
        from logging.handlers import RotatingFileHandler  # it loads pickle

        handler = RotatingFileHandler(home.log, maxBytes=LOG_BYTES, backupCount=1)
    else:
        handler = logging.StreamHandler(sys.stderr)
    in_journal = not to_file and is_journal(sys.stderr.fileno(), os.environ)
    handler.setFormatter(JournalFormatter() if in_journal else logging.Formatter(PLAIN))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("meshconsole").setLevel(level.upper())


def stop_logging() -> None:
    """What is destroyed must not be written anew."""
    root = logging.getLogger()
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = [logging.NullHandler()]


def is_journal(descriptor: int, environment: Mapping[str, str]) -> bool:
    """True if `$JOURNAL_STREAM` names the descriptor's stream, as device:inode (systemd.exec(5))."""
    stream = environment.get("JOURNAL_STREAM", "")
    if not stream:
        return False
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return stream == f"{status.st_dev}:{status.st_ino}"
