"""The import contracts of pyproject.toml hold, and would notice if they did not."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINT = Path(sys.executable).with_name("lint-imports")


def lint(folder: Path, config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINT, "--config", str(config), "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )


def names(layers: list[str]) -> set[str]:
    return {layer.strip().rpartition(".")[2] for line in layers for layer in line.split("|")}


def test_contracts_hold() -> None:
    done = lint(ROOT, ROOT / "pyproject.toml")
    assert done.returncode == 0, done.stdout


def test_contracts_notice_a_wrong_import(tmp_path: Path) -> None:
    """A package with the same rooms, in which the lowest and the highest import each other, and textual;
    a desk that knows a verb."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    rooms = names(contracts[0]["layers"]) | {"control"}
    for room in rooms:
        (tmp_path / "meshconsole" / room).mkdir(parents=True)
        (tmp_path / "meshconsole" / room / "__init__.py").write_text("")
    (tmp_path / "meshconsole" / "__init__.py").write_text("")
    (tmp_path / "meshconsole" / "core" / "__init__.py").write_text(
        "import time, textual, psycopg, sqlcipher3, coincurve\nimport meshconsole.cli\n"
    )
    (console,) = [contract for contract in contracts if contract.get("containers")]
    for part in names(console["layers"]):
        (tmp_path / "meshconsole" / "console" / f"{part}.py").write_text("")
    (tmp_path / "meshconsole" / "console" / "desk.py").write_text("import meshconsole.console.verbs\n")
    (tmp_path / "meshconsole" / "cli" / "__init__.py").write_text("import meshconsole.core\n")
    (tmp_path / "meshconsole" / "control" / "__init__.py").write_text("import meshconsole.crypto\n")
    (tmp_path / "meshconsole" / "mesh" / "__init__.py").write_text(
        "import aiortc\nimport h11\nimport meshconsole.control\n"
    )
    done = lint(tmp_path, ROOT / "pyproject.toml")
    broken = done.stdout.count("BROKEN")
    assert done.returncode != 0
    assert broken == len(contracts), done.stdout
