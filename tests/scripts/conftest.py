"""The set-up scripts as modules; they are run by file name otherwise."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

PIP_VARIABLES = ("PIP_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CONFIG_FILE", "PIP_CERT")


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in PIP_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fetch_pip(scripts: None) -> ModuleType:
    return importlib.import_module("scripts.fetch_pip")


@pytest.fixture
def bootstrap(scripts: None) -> ModuleType:
    return importlib.import_module("scripts.bootstrap")


@pytest.fixture
def lock_check(scripts: None) -> ModuleType:
    return importlib.import_module("scripts.lock_check")
