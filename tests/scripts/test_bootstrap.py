"""The set-up: complete or absent, quick when there is nothing to do, and never worse than before.

pip is replaced by a wheel of one file that "installs" a module, or fails, as the lock tells it to.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

PIP = """
import sys, sysconfig, pathlib
lock = pathlib.Path(sys.argv[sys.argv.index("-r") + 1]).read_text()
with open(pathlib.Path(sys.prefix) / "pip-was-here", "a") as record:
    print(*sys.argv[1:], file=record)
if "fail" in lock:
    print("ERROR:", lock.partition("fail")[2].strip())
    sys.exit(1)
(pathlib.Path(sysconfig.get_path("purelib")) / "installed.py").write_text(f"lock = {lock!r}")
"""


class Checkout:
    """A checkout in a folder of its own, with the set-up pointed at it."""

    def __init__(self, bootstrap: ModuleType, root: Path) -> None:
        self.bootstrap = bootstrap
        self.root = root
        self.link = root / ".venv"

    def lock(self, kind: str, text: str) -> None:
        (self.root / "requirements" / f"{kind}.txt").write_text(text)

    def set_up(self, kind: str = "product") -> int:
        return int(self.bootstrap.main([kind]))

    def installed(self) -> str:
        code = "import installed; print(installed.lock)"
        done = subprocess.run(
            [self.link / "bin/python", "-c", code], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def pip_runs(self) -> int:
        return sum(len(record.read_text().splitlines()) for record in self.root.glob(".venvs/*/pip-was-here"))


@pytest.fixture
def checkout(bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    root = tmp_path / "check out"  # a space, because people have them
    (root / "requirements").mkdir(parents=True)
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / bootstrap.PIP_WHEEL, "w") as wheel:
        wheel.writestr("pip/__main__.py", PIP)
    digest = hashlib.sha256((wheels / bootstrap.PIP_WHEEL).read_bytes()).hexdigest()
    monkeypatch.setattr(bootstrap, "PIP_SHA256", digest)
    monkeypatch.setattr(bootstrap, "ROOT", root)
    monkeypatch.setattr(bootstrap, "BUILDS", root / ".venvs")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    checkout = Checkout(bootstrap, root)
    for kind in ("product", "web", "dev", "lock"):
        checkout.lock(kind, f"{kind} 1")
    return checkout


def test_it_installs_from_the_lock_and_makes_the_command(checkout: Checkout) -> None:
    package = checkout.root / "meshconsole" / "cli"
    package.mkdir(parents=True)
    (package / "main.py").write_text("import sys\ndef main():\n    print(sys.argv[1:])\n    return 7\n")
    assert checkout.set_up() == 0
    assert checkout.installed() == "product 1"
    command = [str(checkout.link / "bin/meshconsole"), "a b", "--c"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert (done.returncode, done.stdout) == (7, "['a b', '--c']\n")


def test_packages_are_taken_by_hash_and_never_built(checkout: Checkout) -> None:
    checkout.set_up()
    (record,) = checkout.root.glob(".venvs/*/pip-was-here")
    options = record.read_text()
    assert "--require-hashes" in options
    assert "--no-deps" in options
    assert "--only-binary :all:" in options


def test_nothing_is_done_twice(checkout: Checkout, capsys: pytest.CaptureFixture[str]) -> None:
    checkout.set_up()
    capsys.readouterr()
    assert checkout.set_up() == 0
    assert checkout.pip_runs() == 1
    assert capsys.readouterr().out == ""


def test_what_serves_development_serves_the_product(checkout: Checkout) -> None:
    checkout.set_up("dev")
    checkout.set_up("product")
    assert checkout.installed() == "dev 1"
    assert checkout.pip_runs() == 1


def test_a_changed_lock_is_a_new_environment_and_the_old_one_goes(checkout: Checkout) -> None:
    checkout.set_up()
    checkout.lock("product", "product 2")
    assert checkout.set_up() == 0
    assert checkout.installed() == "product 2"
    assert len(list(checkout.root.glob(".venvs/product-*"))) == 1


def test_an_environment_in_which_a_program_runs_stays_until_it_has_ended(checkout: Checkout) -> None:
    checkout.set_up()
    (running,) = checkout.root.glob(".venvs/product-*")
    library = running / "library"
    library.write_bytes(bytes(4096))
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
        checkout.set_up("dev")
        assert running.is_dir()
    checkout.lock("dev", "dev 2")
    checkout.set_up("dev")
    assert not running.exists()


def test_a_failure_leaves_what_worked_before(checkout: Checkout, capsys: pytest.CaptureFixture[str]) -> None:
    checkout.set_up()
    checkout.lock("product", "fail Could not install: No space left on device")
    assert checkout.set_up() == 1
    assert "the disk is full" in capsys.readouterr().err
    assert checkout.installed() == "product 1"
    assert checkout.set_up() == 1  # and it is not believed complete the next time either


def test_the_first_failure_leaves_nothing_that_looks_complete(checkout: Checkout) -> None:
    checkout.lock("product", "fail")
    assert checkout.set_up() == 1
    assert not os.path.lexists(checkout.link)
    checkout.lock("product", "product 1")
    assert checkout.set_up() == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("[Errno -3] Temporary failure in name resolution", "no network"),
        ("THESE PACKAGES DO NOT MATCH THE HASHES", "differs from the lock"),
        ("No matching distribution found for aiortc==1", "It is aiortc==1 that is missing"),
        ("certificate is not yet valid", "clock is wrong"),
        ("something unheard of", "something unheard of"),
    ],
)
def test_causes_in_words(
    words: str, said: str, checkout: Checkout, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout.lock("product", f"fail {words}")
    assert checkout.set_up() == 1
    shown = capsys.readouterr().err
    assert shown.startswith("meshconsole set-up: ")
    assert said in shown
    assert "Traceback" not in shown


def test_what_an_interrupted_set_up_left_is_built_again(checkout: Checkout) -> None:
    build = checkout.root / ".venvs" / checkout.bootstrap._build_name("product")
    (build / "bin").mkdir(parents=True)
    (build / "bin" / "python").write_text("half a file")
    checkout.link.symlink_to(f".venvs/{build.name}")
    assert checkout.set_up() == 0
    assert checkout.installed() == "product 1"


def test_an_interrupt_is_one_sentence(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkout.bootstrap, "_install", interrupted)
    assert checkout.set_up() == 130
    assert "Run it again" in capsys.readouterr().err
    assert not os.path.lexists(checkout.link)


def test_a_folder_that_is_not_ours_is_moved_aside(checkout: Checkout) -> None:
    checkout.link.mkdir()
    (checkout.link / "mine").write_text("mine")
    assert checkout.set_up() == 0
    assert (checkout.root / ".venv-before" / "mine").read_text() == "mine"
    assert checkout.installed() == "product 1"


def test_a_moved_checkout_is_set_up_again(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout.set_up()
    moved = checkout.root.with_name("moved")
    checkout.root.rename(moved)
    monkeypatch.setattr(checkout.bootstrap, "ROOT", moved)
    monkeypatch.setattr(checkout.bootstrap, "BUILDS", moved / ".venvs")
    there = Checkout(checkout.bootstrap, moved)
    assert there.set_up() == 0
    assert there.installed() == "product 1"


def test_the_callers_environment_does_not_leak_in(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX"):
        monkeypatch.setenv(name, "elsewhere")
    kept = checkout.bootstrap._environment()
    assert not {"PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX"} & set(kept)
    assert kept["PIP_USER"] == "0"


def test_an_old_python_is_told_so(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "OLDEST", (99, 0))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    assert bootstrap.main(["product"]) == 1


def test_the_script_can_be_read_by_an_old_python(bootstrap: ModuleType) -> None:
    """Else the sentence about the version would never be seen."""
    import ast

    ast.parse(Path(str(bootstrap.__file__)).read_text(), feature_version=(3, 7))
