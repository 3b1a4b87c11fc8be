"""Which health items are shown: after their time, and only what nothing else explains."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshconsole.core.health import BY_CODE, CONDITIONS, Condition, Found, Health, as_finding

DELAYED = [condition for condition in CONDITIONS if condition.after_s]
CAUSED = [(condition, cause) for condition in CONDITIONS for cause in condition.causes]


def codes(health: Health) -> list[str]:
    return [item.code for item in health.items]


def ripe(*found: str, health: Health | None = None) -> Health:
    """After all of these have stood for an hour."""
    health = health or Health()
    for now in (0.0, 3600.0):
        health.look([Found(code, code) for code in found], now, 1000.0 + now)
    return health


def test_causes_are_registered_and_told_before_what_they_bring_about() -> None:
    assert len(BY_CODE) == len(CONDITIONS)
    order = [condition.code for condition in CONDITIONS]
    assert all(order.index(cause) < order.index(condition.code) for condition, cause in CAUSED)


@pytest.mark.parametrize("condition", DELAYED, ids=lambda condition: condition.code)
def test_a_flap_does_not_shout(condition: Condition) -> None:
    health, found, after = Health(), [Found(condition.code, "x")], condition.after_s
    assert not health.look(found, 0.0, 1000.0)
    assert not health.look([], after - 1, 1000.0)
    assert not health.look(found, after, 1000.0 + after)
    assert not health.look(found, 2 * after - 1, 1000.0)
    [item] = health.look(found, 2 * after, 1000.0 + 2 * after)
    assert item.since == 1000.0 + after
    assert not health.look([], 2 * after + 1, 0.0)


@pytest.mark.parametrize(("condition", "cause"), CAUSED, ids=lambda one: getattr(one, "code", one))
def test_a_cause_hides_what_it_brings_about(condition: Condition, cause: str) -> None:
    health = ripe(cause, condition.code)
    assert codes(health) == [cause]
    assert health.items[0].hides == (condition.code,)
    assert condition.code in health.items[0].line
    assert codes(ripe(condition.code)) == [condition.code]


def test_a_cause_that_is_not_shown_yet_hides_nothing() -> None:
    health = Health()
    health.look([Found("few-copies", "few")], 0.0, 0.0)
    health.look([Found("few-copies", "few"), Found("no-links", "none")], 3600.0, 0.0)
    assert codes(health) == ["few-copies"]


def test_at_the_end_of_a_chain_stands_one_cause() -> None:
    health = ripe("few-copies", "not-heard", "no-links", "emcon")
    assert codes(health) == ["emcon"]
    assert health.items[0].hides == ("few-copies", "no-links", "not-heard")


def test_one_code_may_stand_several_times() -> None:
    health = Health()
    health.look([Found("proposal", "A", about="1"), Found("proposal", "B", about="2")], 0.0, 5.0)
    assert [item.text for item in health.items] == ["A", "B"]


def test_only_what_is_critical_makes_the_doctor_fail() -> None:
    outcomes = {code: as_finding(ripe(code).items[0]).outcome for code in ("storage-full", "clock")}
    assert outcomes == {"storage-full": "bad", "clock": "note"}


def test_the_operators_guide_lists_them_as_they_are() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "operator.md").read_text()
    for condition in CONDITIONS:
        after = f"{condition.after_s:g} s" if condition.after_s else "at once"
        causes = ", ".join(f"`{cause}`" for cause in condition.causes)
        assert f"| `{condition.code}` | {condition.severity} | {after} | {causes} |\n" in guide
