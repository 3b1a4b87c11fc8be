"""Before a run in another system: what is missing on this machine is named, with the way to get it."""

from __future__ import annotations

import os

import pytest

from scripts.debian import Impossible, need
from scripts.systemd import rows


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Impossible, match="needs root, to enter another system: sudo make arm64"):
        need(("sh",), "sh", "arm64")


def test_a_program_that_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    need(("sh",), "sh", "systemd")
    with pytest.raises(Impossible, match="no-such-program missing: apt install some-package"):
        need(("sh", "no-such-program"), "some-package", "systemd")


def test_what_was_seen_breaks_no_table() -> None:
    assert list(rows([("a promise", "a|b")])) == ["| a promise | a\\|b |\n"]
