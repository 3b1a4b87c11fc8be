"""Faults of the path while links carry: loss, delay, damage, little bandwidth, many hops, many nodes."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from scripts.machine import Failure
from tests.netlab.impairment import LADDER, PRESETS, Impairment
from tests.netlab.team import Team, found_homes, has_link, is_linked, is_up
from tests.netlab.traffic import Arrivals, has_taken, held_by, percentile, send_notes, write_events

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.netlab.figures import Ledger
    from tests.netlab.lab import Lab
    from tests.netlab.team import Status

pytestmark = [pytest.mark.netlab, pytest.mark.soak]

NOTES = 200
NOTE = "x" * 360
FILE_BYTES = 10 << 20
MANY = 20
MAX_LINKS = 14


def both_ways(pair: Team, label: str, within_s: float) -> tuple[int, int, list[float]]:
    """NOTES notes from each to the other at the same time: how many came, how many twice, their delays."""
    arrivals = {name: Arrivals(pair[name]) for name in "ab"}
    texts = {name: [f"{label} {name} {n} {NOTE}" for n in range(NOTES)] for name in "ab"}
    with ThreadPoolExecutor(2) as pool:
        sent = dict(
            zip("ab", pool.map(lambda n: send_notes(pair[n], texts[n], pause_s=0.02), "ab"), strict=True)
        )
    came = twice = 0
    delays = []
    for source, target in (("a", "b"), ("b", "a")):
        heard = arrivals[target]
        came += heard.wait(texts[source], within_s)
        twice += sum(1 for text in texts[source] if heard.times[text] > 1)
        delays += [heard.at[text] - at for text, at in sent[source].items() if text in heard.at]
    return came, twice, delays


@pytest.mark.timeout(900)
def test_events_arrive_on_every_rung_of_the_ladder(lab: Lab, pair: Team, ledger: Ledger) -> None:
    parts, is_met = [], True
    for number, (name, impairment) in enumerate(LADDER.items()):
        lab.impair("a", impairment)
        came, twice, delays = both_ways(pair, name, 60)
        late = percentile(delays, 0.95)
        limit = 2.0 if number < 6 else 8.0
        is_met = is_met and came == 2 * NOTES and not twice and late <= limit
        parts.append(f"{late:.1f} s" if came == 2 * NOTES else f"{came} of {2 * NOTES}")
        print(f"{name}: {came} of {2 * NOTES}, {twice} twice, p95 {late:.2f} s")
        lab.impair("a", Impairment())
        for one, other in (("a", "b"), ("b", "a")):
            pair.until(one, f"{other} up", is_up(other), 60)
    ledger.measured("ladder", f"p95 by rung: {', '.join(parts)}", is_met=is_met)


@pytest.mark.timeout(300)
def test_flash_notes_come_through_forty_percent_loss(lab: Lab, pair: Team, ledger: Ledger) -> None:
    lab.impair("b", Impairment(loss_percent=40))
    heard = Arrivals(pair["b"])
    texts = [f"flash {n}" for n in range(100)]
    sent = send_notes(pair["a"], texts, pause_s=0.25, precedence="flash")
    came = heard.wait(texts, 10)
    delays = [heard.at[text] - sent[text] for text in texts if text in heard.at]
    late = percentile(delays, 0.95)
    text = f"{came} of {len(texts)} within 10 s, p95 {late:.2f} s"
    ledger.measured("flash-40", text, is_met=came >= 99 and late <= 1.5)


def test_damaged_frames_damage_nothing(lab: Lab, pair: Team, ledger: Ledger) -> None:
    lab.impair("a", Impairment(corrupt_percent=5))
    came, twice, delays = both_ways(pair, "damaged", 30)
    damaged = sum(way.counts["corrupted"] for way in (lab.port("a").up, lab.port("a").down))
    late = percentile(delays, 0.95)
    text = f"{came} of {2 * NOTES}, {twice} twice, p95 {late:.2f} s, {damaged} frames damaged"
    ledger.measured("corrupt", text, is_met=came == 2 * NOTES and not twice and damaged > 0)


@pytest.mark.timeout(300)
def test_a_note_passes_a_file_on_a_radio_link(lab: Lab, pair: Team, ledger: Ledger, tmp_path: Path) -> None:
    """The link is made before the network becomes slow; the file would take minutes."""
    lab.impair("a", PRESETS["radio"])
    file = tmp_path / "map.bin"
    file.write_bytes(os.urandom(500_000))
    heard = Arrivals(pair["b"])
    cid = pair["a"].json("blobs", "add", str(file))[0]["cid"]
    heard.wait(["never said"], 15)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(pair["b"].command, "blobs", "get", cid, "-o", str(tmp_path / "copy"), check=False)
        time.sleep(5)
        sent = send_notes(pair["a"], ["urgent"], precedence="flash")
        came = heard.wait(["urgent"], 30)
        lives = has_link(pair["a"].json("status"), "b")
        lab.impair("a", Impairment())
    took = heard.at.get("urgent", sent["urgent"] + 30) - sent["urgent"]
    text = f"note shown after {took:.1f} s, links {'live' if lives else 'lost'}"
    ledger.measured("slow", text, is_met=came == 1 and took <= 5 and lives)


def test_events_and_files_go_along_a_line(
    lab: Lab, team: Callable[..., Team], ledger: Ledger, tmp_path: Path
) -> None:
    lab.hosts("a", "b", "c", "d")
    lab.line("a", "b", "c", "d")
    four = team("a", "b", "c", "d")
    four.start()
    for name, other in (("a", "b"), ("b", "c"), ("c", "d")):
        four.until(name, f"a link to {other}", is_linked(other))
    heard = Arrivals(four["d"])
    sent = send_notes(four["a"], ["from end to end"])
    heard.wait(sent, 30)
    took = heard.at.get("from end to end", float("inf")) - sent["from end to end"]
    file = tmp_path / "map.bin"
    file.write_bytes(os.urandom(FILE_BYTES))
    cid = four["a"].json("blobs", "add", str(file))[0]["cid"]
    four.until_event("d", "map.bin")
    before = lab.port("a").sent.total()
    began = time.monotonic()
    fetch = four["d"].command("blobs", "get", cid, "-o", str(tmp_path / "copy"), check=False)
    fetching = time.monotonic() - began
    carried = (lab.port("a").sent.total() - before) / FILE_BYTES
    has_file = fetch.returncode == 0 and (tmp_path / "copy").read_bytes() == file.read_bytes()
    through = [four[name].json("status")["storage"]["handed_on_blocks"] for name in "bc"]
    file_text = f"{FILE_BYTES >> 20} MiB fetched in {fetching:.1f} s, {carried:.2f}x its bytes from a"
    text = f"note after {took:.2f} s over three hops; {file_text if has_file else 'file not fetched'}"
    met = took <= 5 and has_file and fetching <= 10 and carried < 1.2 and min(through) > 0
    ledger.measured("line", text, is_met=met)


@pytest.mark.timeout(1200)
def test_twenty_nodes_have_a_burst_exactly_once(lab: Lab, ledger: Ledger, tmp_path: Path) -> None:
    names = [f"n{number}" for number in range(MANY)]
    (tmp_path / "homes").mkdir()
    (tmp_path / "run").mkdir()
    found_homes(tmp_path / "homes", names)
    lab.hosts(*names)
    all_of_them = Team(lab, tmp_path / "homes", tmp_path / "run", names)
    try:
        all_of_them.start("capabilities.webrtc_hub=false")
        for name in names:
            all_of_them.until(
                name, "a link", lambda status: any(row["links"] for row in status["peers"]), 120
            )
        began = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            written = pool.map(lambda name: write_events(all_of_them[name], 250, tmp_path)[0], names[:4])
            ids = set().union(*written)
        try:
            for name in names:
                all_of_them.until(name, "all events", has_taken(len(ids)), 300)
        except Failure as failure:
            ledger.measured("twenty", f"not all after 300 s: {str(failure)[:60]}", is_met=False)
        took = time.monotonic() - began
        held = {name: held_by(all_of_them[name], tmp_path) for name in names}
        once = all(len(ids & set(each)) == len(ids) and len(each) == len(set(each)) for each in held.values())
        links = [_linked(all_of_them[name].json("status")) for name in names]
        how_often = "exactly once" if once else "not once"
        text = f"all equal after {took:.0f} s, {how_often}, at most {max(links)} links"
        ledger.measured("twenty", text, is_met=once and max(links) <= MAX_LINKS)
    finally:
        all_of_them.kill()


def _linked(status: Status) -> int:
    return sum(1 for row in status["peers"] if row["links"])
