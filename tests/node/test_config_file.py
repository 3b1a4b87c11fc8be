"""A home's configuration: layers, problems named all at once, comments kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.core.config import Config, ConfigError
from meshconsole.core.home import Home
from meshconsole.node.config_file import check_config, load_config, render_config, write_values

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_a_rendered_file_reads_back_as_the_same_configuration(home: Home) -> None:
    home.config.write_text(render_config(Config()))
    assert load_config(home, environment={}) == Config()


def test_later_layers_win(home: Home) -> None:
    home.config.write_text("[limits]\nmax_storage_mb = 100\nmax_connections = 5\n[node]\nname='a'\n")
    config = load_config(
        home,
        ["limits.max_storage_mb=300"],
        {"MESHCONSOLE_LIMITS_MAX_STORAGE_MB": "200", "MESHCONSOLE_LIMITS_MAX_CONNECTIONS": "6"},
    )
    assert config.limits.max_storage_mb == 300
    assert config.limits.max_connections == 6
    assert config.node.name == "a"


def test_other_variables_of_the_environment_are_left_alone(home: Home) -> None:
    load_config(home, environment={"MESHCONSOLE_PASSPHRASE": "x", "MESHCONSOLE_HOME": "/y"})


def test_every_problem_is_named_with_file_key_and_reason(home: Home) -> None:
    home.config.write_text(
        "stray = 1\n[limits]\nmax_storage_mb = -1\nmax_conections = 3\n"
        "[relay]\nenable = 'maybe'\n[dance]\na = 1\n"
    )
    problems = {problem.key: problem for problem in check_config(home)}
    assert set(problems) == {
        "stray",
        "limits.max_storage_mb",
        "limits.max_conections",
        "relay.enable",
        "dance.a",
    }
    assert all(problem.source == str(home.config) for problem in problems.values())
    assert "max_connections" in problems["limits.max_conections"].reason


def test_broken_toml_is_a_problem_of_the_file(home: Home) -> None:
    home.config.write_text("[limits\n")
    (problem,) = check_config(home)
    assert "not valid TOML" in problem.reason


def test_write_values_keeps_comments_and_checks_first(home: Home) -> None:
    home.config.write_text("# mine\n[limits]\nmax_storage_mb = 100 # small\n")
    write_values(home, {"limits": {"max_storage_mb": "200"}, "privacy": {"require_authentication": "off"}})
    text = home.config.read_text()
    assert "# mine" in text
    assert "max_storage_mb = 200 # small" in text
    assert load_config(home, environment={}).privacy.require_authentication is False
    with pytest.raises(ConfigError):
        write_values(home, {"limits": {"max_storage_mb": "many"}})
    assert home.config.read_text() == text
    assert home.config.stat().st_mode & 0o777 == 0o600
