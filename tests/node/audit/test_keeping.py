"""The audit log stays within its size, and links that come and go do not fill it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.mesh.happenings import LinkDown, LinkUp
from meshconsole.node.audit.keeping import AuditKeeping
from meshconsole.node.audit.link_digest import MAX_KINDS, PERIOD_S, LinkDigest
from meshconsole.node.audit.log import AuditLog, read_audit, read_places
from tests.team.devices import identity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = bytes([9]) * 32
DEVICE = "ab" * 32


class Kept:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = 1_800_000_000.0
        self.set_back = False
        self.log = AuditLog(path, KEY)
        self.log.open()
        self.keeping = AuditKeeping(
            self.log,
            path,
            KEY,
            identity=identity(),
            record=self.record,
            limit_bytes=lambda: 20_000,
            is_evidence=lambda: self.set_back,
            clock=lambda: self.now,
        )

    def record(self, act: str, **detail: str) -> None:
        self.log.append(act, self.now, **detail)

    def acts(self) -> list[str]:
        return [record.act for record in read_audit(self.path, KEY)]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path / "audit.log")
    yield made
    made.log.close()


async def test_a_log_of_years_stays_within_its_size(kept: Kept) -> None:
    largest = 0
    for number in range(300):
        kept.record("act", device=f"device {number}")
        await kept.keeping.shorten()
        largest = max(largest, kept.path.stat().st_size)
    assert largest < 2 * 20_000
    records = read_audit(kept.path, KEY)
    assert [record.seq for record in records] == list(range(records[0].seq, kept.log.seq + 1))
    assert "audit-shortened" in kept.acts()
    assert read_places(kept.path, KEY).before == records[0].seq - 1


async def test_the_log_of_a_set_back_home_is_evidence(kept: Kept) -> None:
    kept.set_back = True
    for _ in range(60):
        kept.record("act")
    await kept.keeping.shorten()
    assert read_places(kept.path, KEY).before == 0


def flap(kept: Kept, times: int) -> None:
    for _ in range(times):
        kept.now += 60
        kept.keeping.link(LinkUp(DEVICE, "websocket", "10.0.0.1:1", dialled=True))
        kept.now += 1
        kept.keeping.link(
            LinkDown(DEVICE, "websocket", "10.0.0.1:1", by_peer=False, reason="Nothing was heard.")
        )


def test_a_link_that_comes_and_goes_all_day_is_four_records(kept: Kept) -> None:
    flap(kept, 500)
    assert kept.acts() == ["link-up", "link-down"]
    kept.keeping.tell_links()
    up, down = read_audit(kept.path, KEY)[2:]
    assert up.act == down.act == "links"
    assert up.detail["times"] == down.detail["times"] == "499"
    assert up.detail["first"] < up.detail["last"]
    assert down.detail["why"] == "Nothing was heard."


def test_a_link_that_ends_for_another_reason_stands_by_itself(kept: Kept) -> None:
    flap(kept, 10)
    kept.keeping.link(LinkDown(DEVICE, "websocket", "", by_peer=False, reason="The device was removed."))
    assert read_audit(kept.path, KEY)[-1].detail["reason"] == "The device was removed."


def test_the_next_day_begins_anew(kept: Kept) -> None:
    flap(kept, 3)
    kept.now += PERIOD_S
    flap(kept, 1)
    assert kept.acts() == ["link-up", "link-down", "links", "links", "link-up", "link-down"]


def test_a_quiet_day_is_told_by_its_end() -> None:
    digest = LinkDigest()
    assert not digest.is_due(1e9)
    digest.note(DEVICE, "link-up", "websocket", 1e9)
    assert not digest.is_due(1e9 + PERIOD_S - 1)
    assert digest.is_due(1e9 + PERIOD_S)
    assert digest.is_due(1e9 - 1), "a clock that was set back must not hold it up for years"
    assert digest.take() == []


def test_a_peer_that_invents_reasons_fills_no_log() -> None:
    digest = LinkDigest()
    whole = [digest.note(DEVICE, "link-down", f"reason {n}", 1e9 + n) for n in range(1000)]
    assert whole.count(True) == MAX_KINDS
    [told] = digest.take()
    assert (told["why"], told["times"]) == ("other", str(1000 - MAX_KINDS))
