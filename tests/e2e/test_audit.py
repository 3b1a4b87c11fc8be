"""The audit log of real nodes: verified, exported, merged; a home that was set back is found out."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.machine import Machine
    from tests.homes import Homes

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
    alpha: Machine, bravo: Machine, machine: Callable[[str], Machine], init: Homes
) -> None:
    stranger = machine("stranger")
    invite = alpha.json("team", "invite")["text"]
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
    init(stranger)
    stranger.start()
    refused = stranger.command("team", "join", invite, check=False)
    assert refused.returncode != 0
    assert len(alpha.json("team")) == 2, "a set-back home lets nobody in"
    refused = alpha.command("team", "rotate", check=False)
    assert refused.returncode == 5
    assert "set back" in refused.stderr
    assert alpha.command("audit", "verify", check=False).returncode == 5
    bravo.start()
    alpha.wait("the key it had", lambda status: status["team"]["epoch"] == epoch)
    alpha.command("audit", "acknowledge")
    alpha.command("team", "rotate")
    bravo.wait("the next key", lambda status: status["team"]["epoch"] == epoch + 1)


def alarmed(status: dict[str, Any]) -> bool:
    return any(item["code"] == "set-back" for item in status["health"])


def test_a_home_put_back_as_a_whole_is_told_by_a_teammate_however_long_its_log_grew_again(
    alpha: Machine, bravo: Machine
) -> None:
    alpha.kill(signal.SIGTERM)
    yesterday = alpha.home.parent / "yesterday"
    shutil.copytree(alpha.home, yesterday)
    alpha.start()
    for each in (alpha, bravo):
        each.wait("a link", lambda status: any(peer["links"] for peer in status["peers"]))
    epoch = alpha.json("status")["team"]["epoch"]
    alpha.command("team", "rotate")
    bravo.wait("the new key", lambda status: status["team"]["epoch"] == epoch + 1)
    alpha.kill(signal.SIGTERM)
    bravo.kill(signal.SIGTERM)
    shutil.rmtree(alpha.home)
    yesterday.rename(alpha.home)
    alpha.start()
    for _ in range(10):
        alpha.command("team", "policy", "rotate_days=20")
    assert not alarmed(alpha.json("status"))
    bravo.start()
    alpha.wait("the alarm", alarmed)
    alpha.kill(signal.SIGTERM)
    alpha.start()
    assert alarmed(alpha.json("status"))


def test_a_device_restored_from_its_backup_is_acknowledged_once(alpha: Machine, bravo: Machine) -> None:
    alpha.command("team", "role", "bravo", "admin")
    bravo.wait(
        "its role", lambda status: "admin" in [m["role"] for m in status["team"]["members"] if m["me"]]
    )
    for _ in range(8):  # more than the new log will have for a while
        bravo.command("team", "policy", "rotate_days=20")
    alpha.wait("the rule", lambda status: ("rotate_days", "20") in status["team"]["rules"])
    seed = bravo.home.parent / "seed"
    seed.write_text(bravo.command("backup", "seed", "--no-qr").stdout.split()[0])
    bravo.kill(signal.SIGTERM)
    shutil.rmtree(bravo.home)
    bravo.command("init", "--yes", "--name", "bravo", "--restore", str(seed))
    bravo.start()
    bravo.command("team", "join", alpha.json("team", "invite")["text"])
    bravo.wait("the alarm", alarmed)
    assert bravo.command("team", "policy", "rotate_days=21", check=False).returncode == 5
    bravo.command("audit", "acknowledge")
    bravo.command("team", "policy", "rotate_days=22")
    alpha.wait("the rule", lambda status: ("rotate_days", "22") in status["team"]["rules"])
    bravo.kill(signal.SIGTERM)
    bravo.start()
    bravo.wait("a link", lambda status: any(peer["links"] for peer in status["peers"]))
    assert not alarmed(bravo.json("status"))
    assert "signed twice" in bravo.command("audit", "verify").stdout
    bravo.command("team", "policy", "rotate_days=23")


def test_a_watermark_that_was_deleted_is_noticed(alpha: Machine) -> None:
    """With it gone, yesterday's database and log would pass for today's."""
    alpha.kill(signal.SIGTERM)
    (alpha.home / "watermark").unlink()
    alpha.start()
    [alarm] = [item for item in alpha.json("status")["health"] if item["code"] == "set-back"]
    assert "watermark is gone" in alarm["text"]
    assert alpha.command("team", "rotate", check=False).returncode == 5
    alpha.command("audit", "acknowledge")
    alpha.command("team", "rotate")
    alpha.kill(signal.SIGTERM)
    alpha.start()
    assert not alarmed(alpha.json("status"))
