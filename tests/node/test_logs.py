"""The journal gets one severity for each line, a terminal gets the time."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

from meshconsole.node.logs import JournalFormatter, is_journal

if TYPE_CHECKING:
    from pathlib import Path


def test_each_line_of_a_traceback_has_the_records_severity() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        record = logging.LogRecord("meshconsole.node", logging.ERROR, "", 0, "broken", (), sys.exc_info())
    lines = JournalFormatter().format(record).splitlines()
    assert lines[0] == "<3>meshconsole.node: broken"
    assert len(lines) > 3
    assert all(line.startswith("<3>") for line in lines)


def test_the_journal_is_told_by_device_and_inode(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("w") as stream:
        status = os.fstat(stream.fileno())
        here = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert is_journal(stream.fileno(), here)
        assert not is_journal(stream.fileno(), {"JOURNAL_STREAM": "1:1"})
        assert not is_journal(stream.fileno(), {})
