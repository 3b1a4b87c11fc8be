from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.config import (
    Config,
    ConfigError,
    build_config,
    parse_settings,
    shown_values,
    with_values,
)
from meshconsole.core.store_url import holds_password, is_postgres, without_password


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("", ""),
        ("sqlite", "sqlite"),
        ("postgresql:///db", "postgresql:///db"),
        ("postgresql://host:5432/db", "postgresql://host:5432/db"),
        ("postgresql://u@host/db?sslmode=require", "postgresql://u@host/db?sslmode=require"),
        ("postgresql://u@[::1]:5432/db", "postgresql://u@[::1]:5432/db"),
        ("postgresql://a:1,b:2/db", "postgresql://a:1,b:2/db"),
        ("postgresql://u:pw@host/db", "postgresql://u:***@host/db"),
        ("postgres://u:p@w/x@host:1/db?a=b", "postgres://u:***@host:1/db?a=b"),
        ("postgresql://u:pw@a:1,b:2/db", "postgresql://u:***@a:1,b:2/db"),
        ("postgresql://u:forgotten", "postgresql://u:***"),
        ("postgresql://u@h/db?password=pw&x=y", "postgresql://u@h/db?password=***&x=y"),
        ("postgresql://h/db?x=y&sslpassword=pw", "postgresql://h/db?x=y&sslpassword=***"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown
    assert holds_password(url) == (shown != url)


@given(st.text(min_size=3).filter(lambda text: "*" not in text and "password" not in text))
def test_no_password_survives(password: str) -> None:
    url = f"postgresql://name:{password}@host/db"
    assert without_password(url) == "postgresql://name:***@host/db"


def test_what_names_postgresql() -> None:
    assert is_postgres("postgresql://h/db")
    assert is_postgres("postgres://h/db")
    assert not is_postgres("sqlite")
    assert not is_postgres("")


@pytest.mark.parametrize("value", ["mysql://u:s3cret@h/db", "node.db", "postgresql://u:***@h/db"])
def test_other_stores_are_refused_without_being_quoted(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_config([("config.toml", {"relay": {"store": value}})])
    assert "relay.store" in str(caught.value)
    assert value not in str(caught.value)


def test_no_password_on_the_command_line() -> None:
    values, problems = parse_settings(["relay.store=postgresql://u:s3cret@h/db", "relay.enable=off"])
    assert values == {"relay": {"enable": "off"}}
    assert "~/.pgpass" in str(problems[0])
    assert "s3cret" not in str(problems[0])
    assert parse_settings(["relay.store=postgresql://u@h/db"])[1] == []


def test_the_configuration_is_shown_without_the_password() -> None:
    config = with_values(Config(), {"relay": {"store": "postgresql://u:pw@h/db"}})
    assert config.relay.store == "postgresql://u:pw@h/db"
    assert shown_values(config)["relay"]["store"] == "postgresql://u:***@h/db"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("turn:me:s3cret@turn.example:3478?transport=tcp", "turn:me:***@turn.example:3478?transport=tcp"),
        ("turns:me:a:b@c@turn.example", "turns:me:***@turn.example"),
        ("turn:turn.example:3478", "turn:turn.example:3478"),
    ],
)
def test_the_configuration_is_shown_without_the_passwords_of_turn_servers(url: str, shown: str) -> None:
    config = with_values(Config(), {"nat": {"turn_servers": [url]}})
    assert shown_values(config)["nat"]["turn_servers"] == (shown,)


def test_stars_in_the_place_of_a_turn_password_are_not_taken_for_one() -> None:
    with pytest.raises(ConfigError, match="write the password anew"):
        with_values(Config(), {"nat": {"turn_servers": ["turn:me:***@turn.example"]}})
