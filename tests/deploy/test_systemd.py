"""The units, by systemd's own judgement."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from meshconsole.node.opening import KEY_CREDENTIAL, PASSPHRASE_CREDENTIAL

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "deploy" / "systemd"
MOST_EXPOSED = 2.5

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing: apt install systemd"
)


def _analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


@needs_systemd
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    for unit in UNITS.glob("*.service"):
        text = unit.read_text()
        # systemd looks whether the programs are there: here it shall find some.
        text = text.replace("/opt/meshconsole/current/.venv/bin/meshconsole", sys.executable)
        text = text.replace("/opt/meshconsole/current/deploy", str(ROOT / "deploy"))
        (tmp_path / unit.name).write_text(text)
    done = _analyze("verify", *map(str, tmp_path.glob("*.service")))
    complaints = [line for line in done.stderr.splitlines() if "meshconsole" in line]
    assert (done.returncode, complaints) == (0, [])


@needs_systemd
def test_the_node_is_exposed_little() -> None:
    done = _analyze("security", "--offline=yes", "--no-pager", str(UNITS / "meshconsole.service"))
    found = re.search(r"exposure level for meshconsole.service: ([\d.]+)", done.stdout)
    if found is None:
        pytest.skip(f"this systemd-analyze cannot judge a file: {done.stderr.strip() or 'systemd 250 can'}")
    print(f"systemd-analyze security: exposure {found.group(1)}")
    assert float(found.group(1)) <= MOST_EXPOSED


def test_the_unit_uses_only_what_the_node_offers() -> None:
    from meshconsole.cli.config import configure as configure_config
    from meshconsole.cli.main import Parser
    from meshconsole.cli.node import configure

    text = (UNITS / "meshconsole.service").read_text()
    command = re.search(r"^ExecStart=\S+ node (.*)$", text, re.M)
    assert command is not None
    parser = Parser()
    configure("node", parser)
    parser.parse_args(command.group(1).split())
    reload = re.search(r"^ExecReload=\S+ config (.*)$", text, re.M)
    assert reload is not None
    parser = Parser()
    configure_config("config", parser)
    parser.parse_args(reload.group(1).split())


def test_a_credential_that_is_not_there_does_not_keep_the_node_from_starting() -> None:
    """With a path systemd 252 demands the file, and the unit fails with 243/CREDENTIALS."""
    text = (UNITS / "meshconsole.service").read_text()
    loaded = re.findall(r"^LoadCredential(?:Encrypted)?=(.*)$", text, re.M)
    assert {KEY_CREDENTIAL, PASSPHRASE_CREDENTIAL} == set(loaded)
