"""A node in the background learns its passphrase through a pipe, and from nowhere else."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from meshconsole.core.home import Home
from meshconsole.node.spawn import ensure_node

if TYPE_CHECKING:
    from pathlib import Path


def test_the_passphrase_is_in_neither_arguments_nor_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def popen(arguments: list[str], **options: Any) -> None:  # noqa: ANN401
        seen.update(options, arguments=arguments)
        raise OSError("not started here")

    monkeypatch.setenv("MESHCONSOLE_PASSPHRASE", "a secret of four words")
    monkeypatch.setattr(subprocess, "Popen", popen)
    with pytest.raises(OSError, match="not started here"):
        ensure_node(Home(tmp_path), "a secret of four words")
    assert not any("secret" in value for value in seen["env"].values())
    assert not any("secret" in argument for argument in seen["arguments"])
    assert "PATH" in seen["env"]
