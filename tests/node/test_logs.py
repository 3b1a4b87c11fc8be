"""The journal gets one severity for each line, a terminal gets the time."""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import TYPE_CHECKING

import pytest

from meshconsole.core.config import Config
from meshconsole.core.home import Home
from meshconsole.core.sections import LimitsSection, LogSection
from meshconsole.node.logs import JournalFormatter, apply_logging, is_journal, log_bytes, set_up_logging

if TYPE_CHECKING:
    from collections.abc import Iterator
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


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    root, ours = logging.getLogger(), logging.getLogger("meshconsole")
    before = root.handlers[:], root.level, ours.level
    yield Home(tmp_path)
    for handler in root.handlers:
        handler.close()
    root.handlers[:], level, our_level = before
    root.setLevel(level)
    ours.setLevel(our_level)


def test_a_record_is_an_object_on_one_line(home: Home) -> None:
    set_up_logging(home, Config(log=LogSection(format="json", file=True)), to_file=False)
    log = logging.getLogger("meshconsole.node")
    log.info('"%s"\nsaid', "alpha\x1b[2J")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        log.exception("broken")
    plain, failed = map(json.loads, home.log.read_text().splitlines())
    assert plain["message"] == '"alpha\x1b[2J"\nsaid'
    assert (plain["level"], plain["logger"]) == ("info", "meshconsole.node")
    assert plain["time"].endswith("+00:00")
    assert failed["traceback"].endswith("ValueError: two\nlines")


def test_the_log_stays_within_its_share_and_changes_while_the_node_runs(home: Home) -> None:
    set_up_logging(home, Config(limits=LimitsSection(max_storage_mb=1)), to_file=True)
    log = logging.getLogger("meshconsole.node")
    most = 0
    for number in range(2000):
        log.info("%d %s", number, "x" * 100)
        most = max(most, log_bytes(home))
    assert 15_000 < most <= 1_000_000 // 32
    apply_logging(Config(log=LogSection(level="error", format="json")))
    log.info("not said")
    log.error("said")
    assert json.loads(home.log.read_text().splitlines()[-1])["message"] == "said"
    for _ in range(400):
        log.error("x" * 100)
    assert log_bytes(home) > 40_000
