"""`config show`: what is in force, and what of it was changed."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

from meshconsole.cli.main import main
from meshconsole.core.config import Config, to_values

if TYPE_CHECKING:
    import pytest

    from meshconsole.core.home import Home
    from tests.cli.scripted_node import ScriptedNode


def test_json_is_all_of_it(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(to_values(Config())))


def test_the_plain_form_is_toml_and_marks_what_was_changed(
    stopped_home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped_home.config.write_text("[limits]\nmax_storage_mb = 100\n")
    assert main(["config"]) == 0
    out = capsys.readouterr().out
    assert tomllib.loads(out)["limits"]["max_storage_mb"] == 100
    assert [line for line in out.splitlines() if "# changed" in line] == ["max_storage_mb = 100   # changed"]


def test_a_running_node_tells_its_own(node: ScriptedNode, capsys: pytest.CaptureFixture[str]) -> None:
    main(["config", "set", "limits.max_connections=8"])
    capsys.readouterr()
    main(["config", "show", "--json"])
    assert json.loads(capsys.readouterr().out)["limits"]["max_connections"] == 8


def test_what_is_set_on_a_stopped_node_is_in_its_file(stopped_home: Home) -> None:
    assert main(["config", "set", "limits.max_storage_mb=100", "node.name=hawk"]) == 0
    values = tomllib.loads(stopped_home.config.read_text())
    assert values == {"limits": {"max_storage_mb": 100}, "node": {"name": "hawk"}}
