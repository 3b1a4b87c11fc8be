"""The audit log of real nodes: verified, exported, merged; a home that was set back is found out."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from scripts.machine import Machine

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_two_devices_logs_are_checked_and_laid_side_by_side(alpha: Machine, bravo: Machine) -> None:
    alpha.command("team", "rotate")
    said = alpha.command("audit", "verify").stdout
    assert "each follows the one before" in said
    assert "signed twice" in said
    files = []
    for each in (alpha, bravo):
        files.append(str(each.home.parent / f"{each.name}.jsonl"))
        each.command("audit", "export", files[-1])
    merged = alpha.command("audit", "merge", *files).stdout
    assert "team-rotate" in merged
    assert " alpha " in merged
    assert " bravo " in merged


def test_yesterdays_database_and_log_are_noticed_and_mended_by_a_teammate(
    alpha: Machine, bravo: Machine
) -> None:
    alpha.kill(signal.SIGTERM)
    saved = alpha.home.parent / "yesterday"
    saved.mkdir()
    names = ("node.db", "audit.log")
    for name in names:
        shutil.copy2(alpha.home / name, saved / name)
    alpha.start()
    for each in (alpha, bravo):
        each.wait("a link", lambda status: any(peer["links"] for peer in status["peers"]))
    alpha.command("team", "rotate")
    epoch = alpha.json("status")["team"]["epoch"]
    bravo.wait("the new key", lambda status: status["team"]["epoch"] == epoch)
    alpha.kill(signal.SIGTERM)
    bravo.kill()
    for name in names:
        shutil.copy2(saved / name, alpha.home / name)
    for tail in ("-wal", "-shm"):
        (alpha.home / f"node.db{tail}").unlink(missing_ok=True)
    alpha.start()
    alpha.wait("the alarm", lambda status: any(item["code"] == "set-back" for item in status["health"]))
    refused = alpha.command("team", "rotate", check=False)
    assert refused.returncode == 5
    assert "set back" in refused.stderr
    assert alpha.command("audit", "verify", check=False).returncode == 5
    bravo.start()
    alpha.wait("the key it had", lambda status: status["team"]["epoch"] == epoch)
    alpha.command("audit", "acknowledge")
    alpha.command("team", "rotate")
    bravo.wait("the next key", lambda status: status["team"]["epoch"] == epoch + 1)
