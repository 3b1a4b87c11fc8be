"""Whose turn it is: data channels and everybody else."""

from __future__ import annotations

import pytest

from meshconsole.mesh.links.courtesy import LONGEST_S, SHARE, STRETCH_S, Courtesy


def courtesy(*, needed: bool) -> Courtesy:
    one = Courtesy()
    one.is_needed = lambda: needed
    return one


def test_nobody_is_slowed_down_while_nobody_waits() -> None:
    one = courtesy(needed=False)
    one.worked(1.0, 10.0)
    assert one.pause(10.0) == 0.0


def test_after_a_stretch_of_work_comes_a_pause_that_keeps_to_the_share() -> None:
    one = courtesy(needed=True)
    one.worked(STRETCH_S / 2, 10.0)
    assert one.pause(10.0) == 0.0
    one.worked(STRETCH_S / 2, 10.0)
    pause = one.pause(10.0)
    assert STRETCH_S / (STRETCH_S + pause) == pytest.approx(SHARE)
    assert one.pause(10.0 + pause / 2) == pytest.approx(pause / 2)
    assert one.pause(10.0 + pause) == 0.0


def test_over_time_channels_work_for_their_share() -> None:
    one, now, worked = courtesy(needed=True), 0.0, 0.0
    while now < 10.0:
        now += one.pause(now)
        now += 0.0003
        worked += 0.0003
        one.worked(0.0003, now)
    assert worked / now == pytest.approx(SHARE, abs=0.03)


def test_no_pause_is_long_and_it_ends_when_nobody_waits_any_more() -> None:
    waits = True
    one = Courtesy()
    one.is_needed = lambda: waits
    one.worked(60.0, 10.0)
    assert one.pause(10.0) == pytest.approx(LONGEST_S)
    waits = False
    assert one.pause(10.0) == 0.0
