"""Configuration: layers, bounds, and every problem named at once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.config import (
    RELOADABLE,
    Config,
    ConfigError,
    Problem,
    build_config,
    changed_keys,
    field_types,
    parse_environment,
    parse_settings,
    parse_toml,
    section_types,
    to_values,
    with_values,
)

ALL_KEYS = [f"{section}.{key}" for section, kind in section_types().items() for key in field_types(kind)]


def problems(section: str, key: str, value: object) -> list[str]:
    try:
        build_config([("test", {section: {key: value}})])
    except ConfigError as error:
        return [problem.key for problem in error.problems]
    return []


def test_what_the_keys_are_is_read_once_and_changed_by_nobody() -> None:
    """Reading it again for each key took a tenth of a node's start."""
    assert field_types(section_types()["limits"]) is field_types(section_types()["limits"])
    with pytest.raises(TypeError):
        section_types()["limits"] = Config  # type: ignore[index]


def test_no_layers_give_the_defaults() -> None:
    assert build_config([]) == Config()


def test_later_layers_win_key_by_key() -> None:
    config = build_config(
        [
            ("file", {"limits": {"max_storage_mb": 100, "max_connections": 8}}),
            ("environment", {"limits": {"max_storage_mb": "200"}}),
            ("--set", {"node": {"name": "hawk"}}),
        ]
    )
    assert (config.limits.max_storage_mb, config.limits.max_connections) == (200, 8)
    assert config.node.name == "hawk"
    assert config.limits.max_bandwidth_mbps == Config().limits.max_bandwidth_mbps


@pytest.mark.parametrize("key", ALL_KEYS)
def test_every_value_survives_being_written_as_text(key: str) -> None:
    section, _, name = key.partition(".")
    value = to_values(Config())[section][name]
    text = ",".join(value) if isinstance(value, tuple | list) else str(value)
    assert build_config([("environment", {section: {name: text}})]) == Config()


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("limits", "max_storage_mb", 0),
        ("limits", "max_storage_mb", -1),
        ("limits", "max_storage_mb", 1.5),
        ("limits", "max_storage_mb", "much"),
        ("limits", "max_storage_mb", True),
        ("limits", "max_bandwidth_mbps", -0.1),
        ("limits", "max_bandwidth_mbps", float("nan")),
        ("limits", "max_bandwidth_mbps", "inf"),
        ("limits", "performance_mode", "ludicrous"),
        ("node", "name", ""),
        ("node", "name", "x" * 65),
        ("node", "name", 7),
        ("relay", "enable", "perhaps"),
        ("relay", "max_event_bytes", 100),
        ("console", "frames_per_second", 0),
        ("nat", "stun_servers", 7),
        ("mesh", "uplinks", "relay.example"),
        ("mesh", "uplinks", "https://relay.example"),
        ("mesh", "uplinks", ["wss://user:word@relay.example"]),
        ("relay", "enabel", True),
        ("reley", "enable", True),
    ],
)
def test_what_does_not_fit_is_refused_by_name(section: str, key: str, value: object) -> None:
    assert problems(section, key, value) == [f"{section}.{key}"]


def test_all_problems_are_named_with_their_source() -> None:
    with pytest.raises(ConfigError) as caught:
        build_config(
            [
                ("config.toml", {"limits": {"max_connections": 0, "max_sorage_mb": 5}}),
                ("environment", {"relay": {"enable": "perhaps"}}),
            ]
        )
    assert [(problem.source, problem.key) for problem in caught.value.problems] == [
        ("config.toml", "limits.max_connections"),
        ("config.toml", "limits.max_sorage_mb"),
        ("environment", "relay.enable"),
    ]
    assert caught.value.exit_code == 2
    assert "max_storage_mb" in str(caught.value)  # the known keys are listed beside the unknown one


@pytest.mark.parametrize(
    ("text", "value"),
    [("on", True), ("YES", True), ("1", True), ("off", False), ("No", False), ("false", False)],
)
def test_switches_in_words(text: str, value: bool) -> None:
    assert build_config([("environment", {"relay": {"enable": text}})]).relay.enable is value


def test_lists_are_separated_by_commas() -> None:
    config = build_config([("environment", {"nat": {"stun_servers": "stun:a:3478, stun:b:3478,"}})])
    assert config.nat.stun_servers == ("stun:a:3478", "stun:b:3478")


def test_a_whole_number_is_a_rate() -> None:
    assert build_config([("file", {"limits": {"max_bandwidth_mbps": 5}})]).limits.max_bandwidth_mbps == 5.0


def test_environment_takes_its_own_names_only() -> None:
    values = parse_environment(
        {
            "MESHCONSOLE_LIMITS_MAX_STORAGE_MB": "100",
            "MESHCONSOLE_HOME": "elsewhere",
            "MESHCONSOLE_PASSPHRASE": "secret",
            "LIMITS_MAX_STORAGE_MB": "7",
        }
    )
    assert values == {"limits": {"max_storage_mb": "100"}}


def test_settings() -> None:
    values, wrong = parse_settings(["limits.max_connections=8", "node.name = a=b ", "nonsense", "=1", "a.=1"])
    assert values == {"limits": {"max_connections": "8"}, "node": {"name": "a=b"}}
    assert [problem.key for problem in wrong] == ["nonsense", "=1", "a.=1"]


def test_toml() -> None:
    values, wrong = parse_toml("config.toml", "stray = 1\n[node]\nname = 'hawk'\n")
    assert values == {"node": {"name": "hawk"}}
    assert wrong == [Problem("config.toml", "stray", "stands outside of a [section]")]


def test_toml_that_cannot_be_read_is_one_problem() -> None:
    values, wrong = parse_toml("config.toml", "[node\n")
    assert not values
    assert len(wrong) == 1
    assert "not valid TOML" in str(wrong[0])


def test_with_values_changes_only_what_it_is_given() -> None:
    changed = with_values(Config(), {"limits": {"max_connections": "8"}})
    assert changed_keys(Config(), changed) == {"limits.max_connections"}
    assert changed_keys(changed, changed) == set()


def test_keys_that_apply_at_once_exist() -> None:
    assert set(ALL_KEYS) >= RELOADABLE


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner)
)


@given(st.sampled_from(ALL_KEYS), anything)
def test_any_value_is_taken_or_refused_by_name(key: str, value: Any) -> None:  # noqa: ANN401
    section, _, name = key.partition(".")
    refused = problems(section, name, value)
    assert refused in ([], [key])
    if not refused:
        # What was taken is within its bounds: typing it again changes nothing.
        config = build_config([("test", {section: {name: value}})])
        assert msgspec.convert(to_values(config), Config) == config


def test_a_word_that_does_not_fit_is_answered_with_those_that_do() -> None:
    with pytest.raises(ConfigError) as caught:
        build_config([("--set", {"privacy": {"emcon": "loud"}})])
    assert "it is one of open, quiet, receive-only, dark" in str(caught.value.problems[0])
