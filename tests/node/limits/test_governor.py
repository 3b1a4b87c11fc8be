"""The limits hold, refuse with a sentence, and are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.core.config import Config
from meshconsole.core.errors import Refused
from meshconsole.core.sections import LimitsSection
from meshconsole.core.status import StorageStatus
from meshconsole.node.limits.governor import GROWTH_SETTLED_S, Governor, Use
from meshconsole.node.limits.quota import MEGABYTE

if TYPE_CHECKING:
    from pathlib import Path


UNIT = 4 * MEGABYTE


def test_connections_are_refused_at_the_limit_and_counted(tmp_path: Path) -> None:
    use = Use()
    governor = Governor(Config(limits=LimitsSection(max_connections=2)), tmp_path, lambda: use)
    assert governor.admit("client", "192.0.2.1").accepted
    use.connections = 2
    verdict = governor.admit("mesh", "192.0.2.1")
    assert (verdict.accepted, verdict.code) == (False, "restricted")
    assert "2 connections" in verdict.sentence
    assert sum(governor.refusals.values()) == 1
    assert governor.limits_status({}).degraded == ("refusing connections: all are in use",)


def test_the_limits_tell_what_storage_is_used_and_allowed(tmp_path: Path) -> None:
    use = Use(stored=StorageStatus(0, 3, 4, 0, 0))
    limits = Governor(Config(limits=LimitsSection(max_storage_mb=1)), tmp_path, lambda: use).limits_status({})
    assert (limits.storage_bytes, limits.max_storage_bytes) == (7, MEGABYTE)


def test_new_limits_apply_at_once(tmp_path: Path) -> None:
    governor = Governor(Config(), tmp_path, Use)
    governor.apply(Config(limits=LimitsSection(max_storage_mb=1, max_connections=1)))
    with pytest.raises(Refused):
        governor.quota.events.reserve(2 * MEGABYTE)
    assert governor.limits_status({}).max_connections == 1


def test_rates_are_bytes_per_second_between_two_samples(tmp_path: Path) -> None:
    governor = Governor(Config(), tmp_path, Use)
    governor.sample(100.0)
    governor.bandwidth.bytes_in += 500
    governor.bandwidth.bytes_out += 1500
    governor.sample(102.0)
    status = governor.limits_status({})
    assert (status.rate_in_bps, status.rate_out_bps) == (250.0, 750.0)
    assert status.memory_bytes > 0


def test_refusal_reasons_are_bounded(tmp_path: Path) -> None:
    governor = Governor(Config(), tmp_path, Use)
    for number in range(1000):
        governor.count_refusal("blocked", f"reason {number}")
    assert len(governor.refusals) == 200


def test_strangers_cannot_take_the_connections_that_links_need(tmp_path: Path) -> None:
    use = Use(connections=6)
    governor = Governor(Config(limits=LimitsSection(max_connections=8)), tmp_path, lambda: use)
    assert not governor.admit("client", "192.0.2.1").accepted
    assert governor.admit("mesh", "192.0.2.1").accepted
    assert governor.admit("join", "192.0.2.1").accepted


def test_links_are_let_in_when_memory_is_short(tmp_path: Path) -> None:
    governor = Governor(Config(limits=LimitsSection(max_memory_mb=1)), tmp_path, Use)
    governor.sample(1.0)
    assert not governor.admit("client", "192.0.2.1").accepted
    assert governor.admit("mesh", "192.0.2.1").accepted


def test_no_client_is_let_in_from_the_mark_on_though_nothing_was_sampled_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    governor = Governor(Config(limits=LimitsSection(max_memory_mb=100)), tmp_path, Use)
    for memory_bytes, is_let_in in ((89 * MEGABYTE, True), (91 * MEGABYTE, False)):
        monkeypatch.setattr(governor._process, "memory_bytes", lambda now=memory_bytes: now)
        assert governor.admit("client", "192.0.2.1").accepted is is_let_in
    assert governor.limits_status({}).degraded == ("refusing clients: memory limit nearly reached",)


def test_growth_is_told_when_there_is_something_to_tell(tmp_path: Path) -> None:
    use = Use()
    governor = Governor(Config(), tmp_path, lambda: use)
    governor.sample(0.0)
    use.stored = StorageStatus(0, 600, 0, 0, 0)
    governor.sample(2.0)
    assert governor.storage_status().growth_bps == 0.0
    governor.sample(GROWTH_SETTLED_S)
    assert governor.storage_status().growth_bps == 2.0


def test_pressure_that_lasts_gives_up_one_thing_after_the_other_and_its_end_gives_all_back(
    tmp_path: Path,
) -> None:
    governor = Governor(Config(limits=LimitsSection(max_memory_mb=1)), tmp_path, Use)
    began = [change.degraded.step.name for now in (0.0, 2.0, 4.0) for change in governor.sample(now)]
    assert began == ["copies-wait", "caches-small", "clients-refused", "frames-slowed", "links-refused"]
    verdict = governor.admit("mesh", "192.0.2.1")
    assert (verdict.accepted, verdict.code) == (False, "restricted")
    limits = governor.limits_status({})
    assert limits.steps == tuple(began)
    assert limits.degraded[2] == "no new Nostr clients: the memory that it may use is nearly used"
    governor.apply(Config())
    assert governor.admit("mesh", "192.0.2.1").accepted
    ended = [change.degraded.step.name for now in (6.0, 16.0, 26.0) for change in governor.sample(now)]
    assert ended == began
    assert not governor.limits_status({}).degraded


def test_a_full_quota_is_a_step_of_its_own(tmp_path: Path) -> None:
    use = Use(stored=StorageStatus(0, 97 * MEGABYTE, 0, 0, 0))
    governor = Governor(Config(limits=LimitsSection(max_storage_mb=100)), tmp_path, lambda: use)
    governor.sample(0.0)
    assert governor.limits_status({}).steps == ("copies-wait", "writes-refused")
    use.stored = StorageStatus(0, 90 * MEGABYTE, 0, 0, 0)
    for now in (2.0, 22.0):
        governor.sample(now)
    assert governor.limits_status({}).steps == ("copies-wait",)


def test_memory_is_looked_at_alone_and_what_was_promised_of_the_storage_still_counts(tmp_path: Path) -> None:
    governor = Governor(Config(limits=LimitsSection(max_memory_mb=1)), tmp_path, Use)
    near = [governor.is_near_memory]
    governor.sample(0.0)
    governor.quota.events.reserve(1000)
    for now in (0.5, 1.0, 1.5):
        governor.sample_memory(now)
    assert governor.quota.used_bytes == 1000
    near.append(governor.is_near_memory)
    assert "caches-small" in governor.degrading
    governor.apply(Config())
    near.append(governor.is_near_memory)
    assert near == [False, True, False], "before it was looked at, above the limit, without one"
    for now in (2.0, 4.0):
        governor.sample(now)
    assert governor.quota.used_bytes == 0
