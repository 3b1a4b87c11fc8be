"""Faults of links that were up: partitions, one-way cuts, killed and suspended peers, new addresses."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.netlab.figures import SHOWN_LATE_S
from tests.netlab.team import PORT, has_link, is_cut_off, peer
from tests.netlab.traffic import has_taken, held_by, write_events

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.netlab.figures import Ledger
    from tests.netlab.lab import Lab
    from tests.netlab.team import Status, Team

pytestmark = [pytest.mark.netlab, pytest.mark.slow]


def heal_and_measure(
    lab: Lab, team: Team, sides: tuple[str, str], count: int, folder: Path
) -> tuple[float, float]:
    """The lab is parted: writes on both sides, heals. Seconds until all have all, and what all hosts received
    over what they lacked."""
    one, other = sides
    ids: set[str] = set()
    missing_bytes = 0
    for writer, own, far in ((one[0], one, other), (other[0], other, one)):
        written, size = write_events(team[writer], count, folder)
        ids |= written
        missing_bytes += size * len(far)
        for name in own:
            team.until(name, "its side's events", has_taken(count), 60)
    before = _received(lab)
    lab.heal()
    began = time.monotonic()
    for name in one + other:
        team.until(name, "all events", has_taken(2 * count), 60)
    took = time.monotonic() - began
    carried = _received(lab) - before
    for name in one + other:
        held = held_by(team[name], folder)
        assert ids <= set(held)
        assert len(held) == len(set(held))
    return took, carried / missing_bytes


def _received(lab: Lab) -> int:
    return sum(sum(port.received.values()) for port in lab.switch.ports.values())


def test_a_healed_partition_leaves_all_with_the_same_events(
    lab: Lab, team: Callable[..., Team], tmp_path: Path
) -> None:
    lab.hosts("a", "b", "c")
    three = team("a", "b", "c")
    three.start("capabilities.webrtc_hub=false")
    three.until_linked()
    lab.partition("ab", "c")
    took, _ratio = heal_and_measure(lab, three, ("ab", "c"), 50, tmp_path)
    print(f"50 events on both sides: equal {took:.1f} s after healing")


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_thousand_events_on_both_sides_of_a_partition(
    lab: Lab, team: Callable[..., Team], ledger: Ledger, tmp_path: Path
) -> None:
    lab.hosts(*"abcde")
    five = team(*"abcde")
    five.start()
    five.until_linked()
    lab.partition("ab", "cde")
    for name, other in (("a", "c"), ("b", "e"), ("c", "a"), ("d", "b"), ("e", "a")):
        five.until(name, f"the end of its link to {other}", is_cut_off(other), 60)
    took, ratio = heal_and_measure(lab, five, ("ab", "cde"), 1_000, tmp_path)
    text = f"equal {took:.1f} s after healing, {ratio:.2f}x what was missing"
    ledger.measured("partition", text, is_met=took <= 5 and ratio <= 2)


def test_a_link_that_works_one_way_is_shown_as_such(lab: Lab, pair: Team, ledger: Ledger) -> None:
    lab.cut_one_way("a", "b")

    def is_honest(status: Status) -> bool:
        row = peer(status, "b")
        return bool(row["hears_us"] is False or row["state"] != "up")

    took = pair.until("a", "the truth about b", is_honest)
    ledger.noted("one-way", f"shown after {took:.1f} s", is_met=took <= 15)


def test_a_killed_node_is_gone_at_once_where_its_host_lives(pair: Team) -> None:
    """Its kernel says that the connections are closed."""
    pair["b"].kill()
    pair.until("a", "b gone", lambda status: not has_link(status, "b"), 10)


@pytest.mark.soak
def test_a_killed_peer_is_gone_from_all_others(lab: Lab, team: Callable[..., Team], ledger: Ledger) -> None:
    """The whole host dies, so that no kernel says that the connection is closed."""
    lab.hosts("a", "b", "c")
    three = team("a", "b", "c")
    three.start()
    three.until_linked()
    lab.partition(["c"], ["a", "b"])
    three["c"].kill()
    began = time.monotonic()
    for name in "ab":
        three.until(name, "c suspect", lambda status: peer(status, "c")["state"] != "up")
    suspect = time.monotonic() - began
    for name in "ab":
        three.until(name, "c gone", lambda status: not has_link(status, "c"), 40)
    gone = time.monotonic() - began
    is_met = suspect <= 10 + SHOWN_LATE_S and gone <= 30 + SHOWN_LATE_S
    text = f"suspect after {suspect:.1f} s, gone after {gone:.1f} s"
    ledger.measured("gone", text, is_met=is_met, less_showing=suspect > 10 or gone > 30)


def test_a_node_at_a_new_address_is_found_again(lab: Lab, team: Callable[..., Team], ledger: Ledger) -> None:
    lab.hosts("a", "b")
    pair = team("a", "b")
    for node in pair.nodes.values():
        node.listen = f"0.0.0.0:{PORT}"  # a link between link-local addresses (IPv6) would outlive the change
    pair.start()
    pair.until_linked()
    lab.replug("b", "lan", "10.77.0.99/24")

    def is_back(status: Status) -> bool:
        return any(link["address"].startswith("10.77.0.99") for link in peer(status, "b")["links"])

    took = pair.until("a", "a link to the new address", is_back, 25)
    rows = [row for row in pair["a"].json("status")["peers"] if row["name"] == "b"]
    assert len(rows) == 1
    ledger.noted("address", f"linked again after {took:.1f} s, one row", is_met=took <= 5)


@pytest.mark.soak
def test_a_node_that_moves_to_another_network_is_found_again(
    lab: Lab, team: Callable[..., Team], ledger: Ledger
) -> None:
    """Behind a router, where no beacon and no multicast goes, with an address of that network."""
    lab.hosts("a", "b")
    lab.router("r", wan="10.77.0.50/24", lan="10.78.0.1/24", inside="upstairs", nat="none")
    lab.ip("a", "route", "add", "10.78.0.0/24", "via", "10.77.0.50")
    pair = team("a", "b")
    for node in pair.nodes.values():
        node.listen = f"0.0.0.0:{PORT}"
    pair.start()
    pair.until_linked()
    lab.replug("b", "upstairs", "10.78.0.20/24", "10.78.0.1")

    def is_back(status: Status) -> bool:
        return any(link["address"].startswith("10.78.0.20") for link in peer(status, "b")["links"])

    took = pair.until("a", "a link to the other network", is_back, 45)
    rows = [row for row in pair["a"].json("status")["peers"] if row["name"] == "b"]
    assert len(rows) == 1
    ledger.measured("network", f"linked again after {took:.1f} s, one row", is_met=took <= 5)


@pytest.mark.soak
def test_flaps_lose_nothing(lab: Lab, pair: Team, ledger: Ledger, tmp_path: Path) -> None:
    for _ in range(3):
        lab.partition(["a"], ["b"])
        write_events(pair["a"], 20, tmp_path)
        time.sleep(0.2)
        lab.heal()
        time.sleep(1)
    began = time.monotonic()
    pair.until("b", "all events", has_taken(60), 60)
    took = time.monotonic() - began
    ledger.measured("flaps", f"all events {took:.1f} s after the last flap", is_met=took <= 5)


@pytest.mark.soak
def test_a_suspended_node_comes_back(pair: Team, ledger: Ledger) -> None:
    assert pair["b"].process is not None
    pair["b"].process.send_signal(signal.SIGSTOP)
    time.sleep(30)
    pair.until("a", "b gone", lambda status: not has_link(status, "b"), 30)
    pair["b"].process.send_signal(signal.SIGCONT)
    took = max(_linked_again(pair, name, other) for name, other in (("a", "b"), ("b", "a")))
    ledger.measured("suspend", f"linked again after {took:.1f} s", is_met=took <= 5)


def _linked_again(pair: Team, name: str, other: str) -> float:
    def is_up(status: Status) -> bool:
        return bool(peer(status, other)["state"] == "up")

    return pair.until(name, f"{other} up", is_up, 60)
