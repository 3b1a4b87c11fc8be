from __future__ import annotations

import pytest

from meshconsole.core.config import ConfigError, build_config
from meshconsole.core.sections import RelaySection
from meshconsole.relay import pace as module
from meshconsole.relay.pace import Pace, parse_kind_rate


def made(*kinds: str, key: int = 0, on: bool = True) -> Pace:
    config = RelaySection(rate_limits=on, key_events_per_minute=key, kind_events_per_minute=kinds)
    return Pace(config)


def test_nothing_is_asked_where_nothing_is_set() -> None:
    assert not made().is_set
    assert not made("1=1", key=1, on=False).is_set
    assert made().offer(["a"], 0).accepted
    assert made().kind(1, ["a"], "", 0).accepted


def test_a_key_has_one_rate_whatever_its_connections() -> None:
    pace = made(key=8)
    assert [pace.offer(["a"], 0).accepted for _ in range(3)] == [True, True, False]
    assert pace.offer(["a"], 0).message == "rate-limited: at most 8 events a minute with one key"
    assert pace.offer(["b"], 0).accepted
    assert pace.offer([], 0).accepted
    assert pace.offer(["a"], 8).accepted


def test_more_keys_on_a_connection_are_not_more_events() -> None:
    pace = made(key=4)
    assert pace.offer(["a"], 0).accepted
    assert not pace.offer(["b", "a"], 0).accepted
    assert pace.offer(["b"], 0).accepted, "nothing was taken from the other key"


def test_kinds_have_rates_of_their_own() -> None:
    pace = made("7=4", "30000-39999=8")
    assert pace.kind(1, ["a"], "", 0).accepted
    assert pace.kind(7, ["a"], "", 0).accepted
    refused = pace.kind(7, ["a"], "", 0)
    assert refused.message == "rate-limited: at most 4 events of kind 7 a minute from one client"
    assert [pace.kind(30_000 + n, ["a"], "", 0).accepted for n in range(3)] == [True, True, False]


def test_who_has_not_logged_in_is_its_address() -> None:
    pace = made("7=4")
    assert pace.kind(7, [], "192.0.2.1", 0).accepted
    assert not pace.kind(7, [], "192.0.2.1", 0).accepted
    assert pace.kind(7, [], "192.0.2.2", 0).accepted
    assert pace.kind(7, ["a"], "192.0.2.1", 0).accepted


def test_a_flood_of_keys_cannot_grow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BUCKETS", 20)
    pace = made("1=4", key=4)
    for number in range(200):
        pace.offer([str(number)], 0)
        pace.kind(1, [str(number)], "", 0)
    assert len(pace) == 20
    assert not pace.offer(["199"], 0).accepted


def test_new_rates_hold_at_once() -> None:
    pace = made(key=4)
    pace.offer(["a"], 0)
    pace.apply(RelaySection(key_events_per_minute=40))
    assert [pace.offer(["a"], 0).accepted for _ in range(11)] == [True] * 10 + [False]


def test_how_rates_are_written() -> None:
    assert parse_kind_rate("7=120") == (7, 7, 120)
    assert parse_kind_rate("30000-39999=5") == (30_000, 39_999, 5)
    config = build_config([("file", {"relay": {"kind_events_per_minute": "7=1, 1984=2"}})])
    assert config.relay.kind_events_per_minute == ("7=1", "1984=2")
    for wrong in ("7", "x=1", "7=-1", "7=", "1-2-3=4"):
        with pytest.raises(ConfigError):
            build_config([("file", {"relay": {"kind_events_per_minute": [wrong]}})])
