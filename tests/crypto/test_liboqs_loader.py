"""The loader finds a library by its file, looks before it loads, and leaves nothing behind."""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from meshconsole.core.errors import Unavailable
from meshconsole.crypto import liboqs_loader
from meshconsole.crypto.liboqs_loader import find_library_file, load_oqs

from .conftest import NO_LIBOQS


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only library folder there is."""
    lib = tmp_path / "lib"
    lib.mkdir()
    monkeypatch.setattr(liboqs_loader, "_library_folders", lambda: iter([lib]))
    return lib


def plant(folder: Path, name: str = "liboqs.so", data: bytes = b"not a library", mode: int = 0o644) -> Path:
    path = folder / name
    path.write_bytes(data)
    path.chmod(mode)
    return path


def test_nothing_is_found_in_an_empty_folder(folder: Path) -> None:
    assert find_library_file() is None
    with pytest.raises(Unavailable, match="no liboqs library is installed"):
        load_oqs()


def test_a_versioned_name_is_found_too(folder: Path) -> None:
    path = plant(folder, "liboqs.so.9")
    assert find_library_file() == path


def test_a_folder_of_that_name_is_no_library(folder: Path) -> None:
    (folder / "liboqs.so").mkdir()
    assert find_library_file() is None


def test_a_file_that_is_no_library_is_not_loaded(folder: Path) -> None:
    plant(folder)
    with pytest.raises(Unavailable, match="does not load"):
        load_oqs()


@pytest.mark.parametrize("mode", [0o666, 0o664])
def test_a_library_that_others_may_write_is_not_loaded(folder: Path, mode: int) -> None:
    plant(folder, mode=mode)
    with pytest.raises(Unavailable, match="changed by other users"):
        load_oqs()


def test_another_library_under_that_name_is_not_loaded(folder: Path) -> None:
    """A real shared object, but without liboqs's functions."""
    name = ctypes.util.find_library("sqlite3") or ctypes.util.find_library("z")
    candidates = [*Path("/usr/lib").glob(f"*/{name}"), *Path("/lib").glob(f"*/{name}")]
    if not name or not candidates:
        pytest.skip("this system has no shared library to plant under the name")
    plant(folder, data=candidates[0].read_bytes())
    with pytest.raises(Unavailable, match="does not load as liboqs"):
        load_oqs()


@pytest.mark.parametrize("version", [b"0.15.2", b"0.13.0", b"nonsense", b""])
def test_an_old_or_nameless_version_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, version: bytes
) -> None:
    plant(folder)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: FakeLibrary(version))
    with pytest.raises(Unavailable, match=r"older than 0\.16"):
        load_oqs()


def test_a_library_newer_than_its_binding_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(folder)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: FakeLibrary(b"0.99.0"))
    with pytest.raises(Unavailable, match="do not belong together"):
        load_oqs()


class FakeLibrary:
    def __init__(self, version: bytes) -> None:
        self._version = version

    @property
    def OQS_version(self) -> VersionFunction:
        return VersionFunction(self._version)


class VersionFunction:
    restype: object = None

    def __init__(self, version: bytes) -> None:
        self._version = version

    def __call__(self) -> bytes:
        return self._version


def test_the_process_is_as_before_after_a_failed_import(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(folder)
    binding = liboqs_loader._binding_version().encode()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: FakeLibrary(binding))

    def fail(name: str) -> None:
        assert os.environ["PYOQS_VERSION"] == "disabled"
        assert ctypes.util.find_library("oqs") == str(folder / "liboqs.so")
        assert ctypes.util.find_library("liboqs") is None
        raise SystemExit(1)

    monkeypatch.setattr(importlib, "import_module", fail)
    monkeypatch.setenv("OQS_INSTALL_PATH", "/kept")
    monkeypatch.delenv("PYOQS_VERSION", raising=False)
    search = ctypes.util.find_library
    with pytest.raises(Unavailable, match="SystemExit"):
        load_oqs()
    assert ctypes.util.find_library is search
    assert os.environ["OQS_INSTALL_PATH"] == "/kept"
    assert "PYOQS_VERSION" not in os.environ


def test_a_library_in_a_folder_that_others_may_write_is_not_loaded(folder: Path) -> None:
    """Whoever can replace the file can replace the code."""
    plant(folder)
    folder.chmod(0o777)
    with pytest.raises(Unavailable, match="changed by other users"):
        load_oqs()


def test_a_link_to_a_library_that_others_may_write_is_not_followed(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder / "liboqs.so").symlink_to(plant(elsewhere, "liboqs.so.9", mode=0o666))
    with pytest.raises(Unavailable, match="changed by other users"):
        load_oqs()


def test_the_next_folder_counts_when_the_first_has_none_that_fits(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = tmp_path / "second" / "lib"
    second.mkdir(parents=True)
    monkeypatch.setattr(liboqs_loader, "_library_folders", lambda: iter([folder, second]))
    old, fitting = plant(folder), plant(second)
    binding = liboqs_loader._binding_version()
    versions = {str(old): b"0.13.0", str(fitting): binding.encode()}
    monkeypatch.setattr(ctypes, "CDLL", lambda path: FakeLibrary(versions[path]))
    assert liboqs_loader._choose(binding) == (fitting, binding)


def test_where_it_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the operator names, then the system's folders, then the binding's own default place."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OQS_INSTALL_PATH", str(tmp_path / "named"))
    folders = list(liboqs_loader._library_folders())
    assert folders[0] == tmp_path / "named" / "lib"
    assert Path("/usr/local/lib") in folders[1:-2]
    assert folders[-2:] == [tmp_path / "home" / "_oqs" / "lib", tmp_path / "home" / "_oqs" / "lib64"]


LOADS_QUIETLY = dedent(
    """
    import os, sys
    started = []
    watched = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect")
    sys.addaudithook(lambda name, args: started.append((name, args)) if name in watched else None)
    from meshconsole.crypto.providers import choose_provider
    provider = choose_provider("liboqs")
    assert provider.name == "liboqs"
    assert not started, started
    """
)


def test_a_real_library_loads_without_a_word_or_a_child_process(tmp_path: Path) -> None:
    found = find_library_file()
    if found is None:
        pytest.skip(NO_LIBOQS)
    done = subprocess.run(
        [sys.executable, "-c", LOADS_QUIETLY],
        env={**os.environ, "HOME": str(tmp_path), "OQS_INSTALL_PATH": str(found.parent.parent)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert list(tmp_path.iterdir()) == []
