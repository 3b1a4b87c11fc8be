"""The scripts of an installation, on a folder that stands for a machine."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FIRST_BOOT = ROOT / "deploy" / "first-boot"
INSTALL = ROOT / "deploy" / "install"
STAND_IN = """\
#!/bin/sh
echo "$@" >> "$STATE/asked"
mkdir -p "$STATE/node"
: > "$STATE/node/keystore"
"""

SET_UP = """\
#!/bin/sh
[ "$1" = -m ] && exit
made=$(dirname "$1")/../.venv/bin
mkdir -p "$made"
cp "$0" "$made/python"
"""


def _first_boot(tmp_path: Path) -> subprocess.CompletedProcess[str]:
    command = tmp_path / "meshconsole"
    command.write_text(STAND_IN)
    command.chmod(0o755)
    environment = os.environ | {
        "STATE": str(tmp_path / "state"),
        "BOOT_FOLDERS": f"{tmp_path / 'firmware'} {tmp_path / 'boot'}",
        "NODE_USER": getpass.getuser(),
        "MESHCONSOLE": str(command),
        "INIT_OPTIONS": "--set limits.performance_mode=saver",
    }
    return subprocess.run([str(FIRST_BOOT)], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.skipif(shutil.which("shred") is None, reason="shred is missing: apt install coreutils")
def test_the_first_boot_takes_the_invite_off_the_card_and_makes_a_home(tmp_path: Path) -> None:
    (tmp_path / "boot").mkdir()
    invite = tmp_path / "boot" / "meshconsole-invite.txt"
    invite.write_text("mc1:abc\n")
    done = _first_boot(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    taken = tmp_path / "state" / "invite"
    assert taken.read_text() == "mc1:abc\n"
    assert taken.stat().st_mode & 0o777 == 0o600
    assert not invite.exists()
    asked = (tmp_path / "state" / "asked").read_text()
    assert asked.startswith(f"init --yes --home {tmp_path / 'state' / 'node'} --name ")
    assert asked.endswith("--set limits.performance_mode=saver\n")


def test_later_boots_leave_the_home_alone_and_tell_the_card_what_was_wrong(tmp_path: Path) -> None:
    (tmp_path / "boot").mkdir()
    _first_boot(tmp_path)
    (tmp_path / "state" / "invite.problem.txt").write_text("This invite was used.\n")
    done = _first_boot(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "boot" / "meshconsole-problem.txt").read_text() == "This invite was used.\n"
    assert (tmp_path / "state" / "asked").read_text().count("init") == 1


def test_a_dry_run_of_the_installation_touches_nothing(tmp_path: Path) -> None:
    environment = os.environ | {"ROOT": str(tmp_path)}
    done = subprocess.run(
        [str(ROOT / "deploy" / "install"), "--dry-run"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "+ install -m 0644" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_checkout_that_only_root_may_read_becomes_a_release_that_the_node_may(tmp_path: Path) -> None:
    """As after `umask 077` and `git clone`."""
    checkout = tmp_path / "checkout"
    for part in ("meshconsole", "themes", "scripts", "requirements", "docs"):
        (checkout / part).mkdir(parents=True)
        (checkout / part / "a.py").write_text("")
    for name in ("README.md", "LICENSE", "CHANGELOG.md"):
        (checkout / name).write_text("")
    (checkout / "pyproject.toml").write_text('version = "1.2"\n')
    shutil.copytree(ROOT / "deploy", checkout / "deploy")
    for path in (checkout, *checkout.rglob("*")):
        path.chmod(path.stat().st_mode & 0o700)
    python = tmp_path / "python"
    python.write_text(SET_UP)
    python.chmod(0o755)
    root = tmp_path / "root"
    done = subprocess.run(
        [str(checkout / "deploy" / "install")],
        env=os.environ | {"ROOT": str(root), "PYTHON": str(python)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (release,) = (root / "opt" / "meshconsole" / "releases").iterdir()
    made = [release, *release.rglob("*")]
    shut = [path for path in made if not path.stat().st_mode & (0o001 if path.is_dir() else 0o004)]
    assert shut == []
    assert os.access(release / "deploy" / "first-boot", os.X_OK)


def _roll_back(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(INSTALL), "--rollback"],
        env=os.environ | {"ROOT": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_rollback_is_to_the_release_before_and_back_again_and_leaves_the_home_alone(tmp_path: Path) -> None:
    prefix = tmp_path / "opt" / "meshconsole"
    older, newer = prefix / "releases" / "0.1.0-aaa", prefix / "releases" / "0.1.0-bbb"
    for release in (older, newer):
        release.mkdir(parents=True)
    (prefix / "current").symlink_to(newer)
    (prefix / "previous").symlink_to(older)
    home = tmp_path / "var" / "lib" / "meshconsole" / "node"
    home.mkdir(parents=True)
    (home / "node.db").write_text("newer")
    (home / "node.db.before-7").write_text("older")
    for current, previous in ((older, newer), (newer, older)):
        done = _roll_back(tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert ((prefix / "current").readlink(), (prefix / "previous").readlink()) == (current, previous)
        assert "kept a copy from before" in done.stdout
    assert sorted(path.name for path in prefix.iterdir()) == ["current", "previous", "releases"]
    assert {path.name: path.read_text() for path in home.iterdir()} == {
        "node.db": "newer",
        "node.db.before-7": "older",
    }


def test_a_rollback_without_a_release_before_changes_nothing_and_says_so(tmp_path: Path) -> None:
    prefix = tmp_path / "opt" / "meshconsole"
    prefix.mkdir(parents=True)
    (prefix / "current").symlink_to(prefix / "releases" / "0.1.0-aaa")
    done = _roll_back(tmp_path)
    assert done.returncode == 1
    assert done.stderr == "install: there is no release before this one.\n"
    assert [path.name for path in prefix.iterdir()] == ["current"]
