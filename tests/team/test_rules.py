"""What admins set for the whole team: which value holds, and how it meets an owner's own settings."""

from __future__ import annotations

import msgspec
import pytest

from meshconsole.core.config import Config
from meshconsole.team.ops import Policy
from meshconsole.team.rules import CAUTIOUS, Rules, overlay, shown, stricter, values_of
from tests.team.histories import Graph


def test_every_rule_that_an_entry_can_set_has_a_cautious_choice() -> None:
    assert set(Policy.__struct_fields__) == set(CAUTIOUS)
    assert {name for name, _ in shown(Rules())} == set(CAUTIOUS)


def test_an_entry_changes_only_what_it_names() -> None:
    rules = overlay(Rules(min_replicas=2), Policy(rotate_days=7))
    assert (rules.min_replicas, rules.rotate_days, rules.history) == (2, 7, "full")
    assert values_of(Policy(plain_messages=False)) == {"plain_messages": False}


@pytest.mark.parametrize(
    ("one", "other", "holds"),
    [
        (Policy(history="full"), Policy(history="joining"), Rules(history="joining")),
        (Policy(rotate_days=3), Policy(rotate_days=30), Rules(rotate_days=3)),
        (Policy(plain_messages=True), Policy(plain_messages=False), Rules(plain_messages=False)),
        (
            Policy(share_with_team_only=True),
            Policy(share_with_team_only=False),
            Rules(share_with_team_only=True),
        ),
        (
            Policy(require_authentication=False),
            Policy(require_authentication=True),
            Rules(require_authentication=True),
        ),
        (
            Policy(allow_public_discovery=True),
            Policy(allow_public_discovery=False),
            Rules(allow_public_discovery=False),
        ),
        (Policy(max_event_bytes=2048), Policy(max_event_bytes=65_536), Rules(max_event_bytes=2048)),
        (Policy(min_replicas=1), Policy(min_replicas=3), Rules(min_replicas=3)),
        (Policy(max_file_mb=10), Policy(max_file_mb=100), Rules(max_file_mb=10)),
    ],
)
def test_of_two_rules_set_side_by_side_the_cautious_one_holds(
    one: Policy, other: Policy, holds: Rules
) -> None:
    graph = Graph.found(["alpha", "bravo"])
    graph.write("alpha", [graph.first], one)
    graph.write("bravo", [graph.first], other)
    assert graph.roster.state.rules == holds


def test_a_later_rule_replaces_an_earlier_one_whatever_it_says() -> None:
    graph = Graph.found(["alpha"])
    first = graph.write("alpha", [graph.first], Policy(require_authentication=True))
    graph.write("alpha", [first], Policy(require_authentication=False))
    assert graph.roster.state.rules.require_authentication is False


def test_a_node_is_as_strict_as_its_team() -> None:
    open_config = msgspec.convert(
        {
            "privacy": {
                "share_with_team_only": False,
                "require_authentication": False,
                "allow_public_discovery": True,
            }
        },
        Config,
    )
    rules = Rules(
        share_with_team_only=True,
        require_authentication=True,
        allow_public_discovery=False,
        max_event_bytes=4096,
        min_replicas=3,
    )
    strict = stricter(open_config, rules)
    assert strict.privacy.share_with_team_only
    assert strict.privacy.require_authentication
    assert not strict.privacy.allow_public_discovery
    assert strict.relay.max_event_bytes == 4096
    assert strict.content.min_replicas == 3


def test_a_node_may_be_stricter_than_its_team() -> None:
    config = msgspec.convert({"relay": {"max_event_bytes": 2048}, "content": {"min_replicas": 5}}, Config)
    rules = Rules(
        share_with_team_only=False,
        require_authentication=False,
        allow_public_discovery=True,
        max_event_bytes=65_536,
        min_replicas=1,
    )
    assert stricter(config, rules) == config


def test_a_team_that_says_nothing_changes_nothing() -> None:
    assert stricter(Config(), Rules()) == Config()
