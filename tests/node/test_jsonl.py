from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from meshconsole.core import lines
from meshconsole.core.errors import Fatal
from meshconsole.core.kinds import MEMBER_ADDED, MEMBERS, ROLE
from meshconsole.core.lines import TOO_LONG
from meshconsole.core.sections import RelaySection
from meshconsole.node import jsonl
from meshconsole.node.jsonl import Progress, export_events, import_events
from meshconsole.node.state import NodeState
from meshconsole.relay.filter import Filter
from meshconsole.relay.relay import Relay
from tests.relay.making import NOW, Clock, Public, raw, signed
from tests.relay.memory import MemoryEventStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

EVENTS = [signed(kind=1 + n % 2, content=str(n), created_at=NOW - 100 + n) for n in range(12)]
LINES = [raw(event) for event in EVENTS]


@asynccontextmanager
async def a_relay() -> AsyncIterator[Relay]:
    relay = Relay(
        MemoryEventStore(Clock()), access=Public(), emit=lambda _: None, config=RelaySection(), clock=Clock()
    )
    await relay.start()
    try:
        yield relay
    finally:
        await relay.stop()


class Broken(Exception):
    """The report's way of breaking an act off."""


class Report:
    def __init__(self, *, breaks_at: int = 1 << 60) -> None:
        self.breaks_at = breaks_at
        self.seen: list[tuple[int, int | None]] = []

    def __call__(self, have: int, total: int | None, words: str = "") -> None:
        self.seen.append((have, total))
        if have >= self.breaks_at:
            raise Broken(words)


@pytest.fixture
def state(tmp_path: Path) -> NodeState:
    return NodeState(tmp_path / "state.db", b"k" * 32)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "BATCH", 2)
    monkeypatch.setattr(jsonl, "PIECE_BYTES", 700)
    monkeypatch.setattr(jsonl, "PAGE", 3)
    monkeypatch.setattr(jsonl, "REMEMBER_EVERY", 1)


async def test_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    async with a_relay() as one, a_relay() as two:
        await one.publish_many(EVENTS)
        assert await export_events(one, path, Report(), Filter(), "") == {"exported": 12}
        assert path.read_bytes().splitlines() == LINES
        assert not path.with_name("events.jsonl.part").exists()
        assert not path.with_name("events.jsonl.part.at").exists()
        report = Report()
        assert await import_events(two, path, report) == ({"new": 12, "already here": 0}, 0)
        assert report.seen[-1] == (path.stat().st_size, path.stat().st_size)
        assert await import_events(two, path, Report()) == ({"new": 0, "already here": 12}, 0)


async def test_what_a_relay_tells_of_its_members_is_not_carried(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    async with a_relay() as relay:
        relay.store.add([*EVENTS, *(signed(kind=kind) for kind in (MEMBERS, ROLE, MEMBER_ADDED))])
        assert await export_events(relay, path, Report(), Filter(), "") == {"exported": 12}
        assert path.read_bytes().splitlines() == LINES


async def test_an_export_of_some(tmp_path: Path) -> None:
    async with a_relay() as relay:
        await relay.publish_many(EVENTS)
        path = tmp_path / "some.jsonl"
        wanted = Filter(kinds=frozenset({2}))
        assert await export_events(relay, path, Report(), wanted, '{"kinds":[2]}') == {"exported": 6}
        assert path.read_bytes().splitlines() == LINES[1::2]


async def test_an_export_goes_on_where_it_was_broken_off(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    async with a_relay() as relay:
        await relay.publish_many(EVENTS)
        with pytest.raises(Broken):
            await export_events(relay, path, Report(breaks_at=9), Filter(), "")
        assert not path.exists()
        report = Report()
        assert await export_events(relay, path, report, Filter(), "") == {"exported": 12}
        assert report.seen[0] == (9, None), "the first two pages were not written again"
        assert path.read_bytes().splitlines() == LINES


async def test_another_export_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    async with a_relay() as relay:
        await relay.publish_many(EVENTS)
        with pytest.raises(Broken):
            await export_events(relay, path, Report(breaks_at=9), Filter(), "")
        wanted = Filter(kinds=frozenset({1}))
        await export_events(relay, path, Report(), wanted, '{"kinds":[1]}')
        assert path.read_bytes().splitlines() == LINES[::2]


async def test_a_damaged_note_is_no_place_to_go_on(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    async with a_relay() as relay:
        await relay.publish_many(EVENTS)
        with pytest.raises(Broken):
            await export_events(relay, path, Report(breaks_at=9), Filter(), "")
        (tmp_path / "events.jsonl.part").write_bytes(b"short")
        await export_events(relay, path, Report(), Filter(), "")
        assert path.read_bytes().splitlines() == LINES


async def test_an_import_goes_on_where_it_was_broken_off(tmp_path: Path, state: NodeState) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\n".join(LINES) + b"\n")
    async with a_relay() as relay:
        with pytest.raises(Broken):
            await import_events(relay, path, Report(breaks_at=3000), Progress(state, path))
        counts, begun = await import_events(relay, path, Report(), Progress(state, path))
        assert begun > 0
        assert 0 < counts["new"] < 12
        assert relay.store.count() == 12
        assert await import_events(relay, path, Report(), Progress(state, path)) == (
            {"new": 0, "already here": 12},
            0,
        )


async def test_a_file_that_changed_is_another_file(tmp_path: Path, state: NodeState) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\n".join(LINES) + b"\n")
    async with a_relay() as relay:
        with pytest.raises(Broken):
            await import_events(relay, path, Report(breaks_at=3000), Progress(state, path))
        path.write_bytes(b"\n".join(reversed(LINES)) + b"\n\n")
        _, begun = await import_events(relay, path, Report(), Progress(state, path))
        assert begun == 0


async def test_refused_lines_are_counted_by_reason_and_kept_aside(tmp_path: Path) -> None:
    path, aside = tmp_path / "events.jsonl", tmp_path / "refused.jsonl"
    forged = LINES[3].replace(b'"content":"3"', b'"content":"x"')
    path.write_bytes(b"\n".join([LINES[0], b"not json", b"", forged, LINES[1]]) + b"\n")
    async with a_relay() as relay:
        counts, _ = await import_events(relay, path, Report(), refused=aside)
        assert (counts.pop("new"), counts.pop("already here")) == (2, 0)
        assert sum(counts.values()) == 2
        assert all(reason.startswith("refused: invalid: ") for reason in counts)
        assert aside.read_bytes().splitlines() == [b"not json", forged]
        with pytest.raises(Fatal, match="refused"):
            await import_events(relay, path, Report(), refused=aside)


async def test_an_import_goes_on_with_its_file_of_refused_lines(tmp_path: Path, state: NodeState) -> None:
    path, aside = tmp_path / "events.jsonl", tmp_path / "refused.jsonl"
    bad = [b"not json %d" % number for number in range(12)]
    path.write_bytes(b"\n".join(line for pair in zip(LINES, bad, strict=True) for line in pair) + b"\n")
    async with a_relay() as relay:
        with pytest.raises(Broken):
            await import_events(relay, path, Report(breaks_at=3000), Progress(state, path), aside)
        aside.write_bytes(aside.read_bytes() + b"written, but not noted")
        _, begun = await import_events(relay, path, Report(), Progress(state, path), aside)
        assert begun > 0
        assert aside.read_bytes().splitlines() == bad
        assert relay.store.count() == 12
        with pytest.raises(Fatal, match="exists already"):
            await import_events(relay, path, Report(), Progress(state, path), aside)


async def test_nothing_that_a_file_holds_stops_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blank lines for ever, and lines that never end: in pieces, between which others go on."""
    monkeypatch.setattr(lines, "LONGEST_LINE", 1000)
    path = tmp_path / "strange.jsonl"
    path.write_bytes(b"\n" * 5000 + b"x" * 20_000 + b"\n" + LINES[0])
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with a_relay() as relay:
        busy = asyncio.create_task(others())
        report = Report()
        counts, _ = await import_events(relay, path, report)
        busy.cancel()
    assert counts == {"new": 1, "already here": 0, TOO_LONG: 1}
    assert turns > len(report.seen) == 37


async def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    async with a_relay() as relay:
        with pytest.raises(Fatal, match="nowhere"):
            await import_events(relay, tmp_path / "nowhere", Report())
        with pytest.raises(Fatal, match="Cannot write"):
            await export_events(relay, tmp_path / "no" / "where", Report(), Filter(), "")
