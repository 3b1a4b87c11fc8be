"""Where the node's log goes: the terminal, a file of its own, or the journal.

The journal stamps each line itself and takes its severity from a prefix (sd-daemon(3)), so there a
line bears that prefix and no time.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meshconsole.core.config import Config
    from meshconsole.core.home import Home

MEGABYTE = 1_000_000
QUOTA_SHARE = 32
"""Of the storage, so much may be log."""
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


class JsonFormatter(logging.Formatter):
    """A record is an object on one line (RFC 8259), its time that of RFC 3339 in UTC."""

    def __init__(self, *, severity: bool) -> None:
        super().__init__()
        self._severity = severity

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        prefix = f"<{SEVERITIES.get(record.levelno, 6)}>" if self._severity else ""
        return prefix + json.dumps(said)


def set_up_logging(home: Home, config: Config, *, to_file: bool) -> None:
    handler: logging.Handler
    if to_file or config.log.file:
        from logging.handlers import RotatingFileHandler  # it loads pickle

        handler = RotatingFileHandler(home.log, backupCount=1, encoding="utf-8")
    else:
        handler = logging.StreamHandler(sys.stderr)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    apply_logging(config)


def apply_logging(config: Config) -> None:
    """Level, format and size, from the next record on."""
    for handler in logging.getLogger().handlers:
        is_file = isinstance(handler, logging.FileHandler)
        in_journal = not is_file and is_journal(sys.stderr.fileno(), os.environ)
        if config.log.format == "json":
            handler.setFormatter(JsonFormatter(severity=in_journal))
        else:
            handler.setFormatter(JournalFormatter() if in_journal else logging.Formatter(PLAIN))
        if is_file:
            handler.maxBytes = _most_bytes(config) // 2  # type: ignore[attr-defined]
    logging.getLogger("meshconsole").setLevel(config.log.level.upper())


def _most_bytes(config: Config) -> int:
    return min(config.log.max_mb * MEGABYTE, config.limits.max_storage_mb * MEGABYTE // QUOTA_SHARE)


def log_bytes(home: Home) -> int:
    """What the log takes in the home, the one before it included."""
    return sum(path.stat().st_size for path in (home.log, home.log.with_name("node.log.1")) if path.exists())


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
