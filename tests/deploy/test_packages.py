"""What others install: the wheel and the source archive hold all that runs, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def test_the_wheel_holds_themes_man_page_and_completions(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    themes = {path.name for path in (ROOT / "themes").glob("*.toml")}
    assert themes
    assert themes <= {Path(name).name for name in names if name.startswith("meshconsole/themes/")}
    for end in ("man/man1/meshconsole.1", "bash-completion/completions/meshconsole", "_meshconsole"):
        assert [name for name in names if name.endswith(end)], end
    assert not [name for name in names if name.startswith(("tests/", "bench/", "scripts/"))]


def test_the_wheel_runs_by_itself(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path)
    script = (
        "import meshconsole, sys; assert meshconsole.__file__.startswith(sys.argv[1]), meshconsole.__file__;"
        "from meshconsole.console.themes import load_themes, shipped_folder;"
        "print(len(load_themes([shipped_folder()])[0]))"
    )
    environment = {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) == len(list((ROOT / "themes").glob("*.toml")))


def test_the_source_archive_can_be_installed_from(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    wanted = ("deploy/install", "deploy/systemd/meshconsole.service", "requirements/product.txt", "Makefile")
    assert not [name for name in wanted if name not in names]
