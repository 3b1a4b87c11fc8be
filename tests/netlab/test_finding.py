"""Faults while nodes look for each other."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from scripts.machine import Failure
from tests.netlab.impairment import Impairment
from tests.netlab.team import peer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.netlab.figures import Ledger
    from tests.netlab.lab import Lab
    from tests.netlab.team import Status, Team

pytestmark = [pytest.mark.netlab, pytest.mark.slow]


def test_nodes_on_one_network_find_each_other(lab: Lab, team: Callable[..., Team], ledger: Ledger) -> None:
    lab.hosts("a", "b")
    pair = team("a", "b")
    pair.start()
    took = pair.until_linked()
    ledger.noted("found", f"linked after {took:.1f} s", is_met=took <= 5)


def test_a_bare_cable_is_enough(lab: Lab, team: Callable[..., Team], ledger: Ledger) -> None:
    """Two machines, no router, nobody who gives out addresses: each has its link-local one."""
    lab.hosts("a", "b")
    for name in "ab":
        lab.ip(name, "-4", "address", "flush", "dev", "eth0")
    pair = team("a", "b")
    pair.start()
    took = pair.until_linked()
    (link,) = [link for link in peer(pair["a"].json("status"), "b")["links"] if link["path"] == "websocket"]
    assert "fe80::" in link["address"], link
    ledger.noted("link-local", f"linked after {took:.1f} s", is_met=took <= 5)


def test_filtered_multicast_does_not_hide_anybody(
    lab: Lab, team: Callable[..., Team], ledger: Ledger
) -> None:
    lab.hosts("a", "b")
    lab.impair_all(Impairment(carries_multicast=False))
    pair = team("a", "b")
    pair.start()
    took = pair.until_linked()
    ledger.noted("multicast", f"linked after {took:.1f} s", is_met=took <= 10)


@pytest.mark.soak
@pytest.mark.parametrize(("percent", "limit_s"), [(20, 5), (40, 15)])
def test_loss_everywhere_delays_finding_but_not_for_long(
    percent: int, limit_s: float, lab: Lab, team: Callable[..., Team], ledger: Ledger
) -> None:
    lab.hosts("a", "b", "c")
    for name in "abc":
        lab.impair(name, Impairment(loss_percent=percent, multicast_loss_percent=80), down=False)
    three = team("a", "b", "c")
    three.start()
    began = time.monotonic()
    try:
        for name in "abc":
            three.until(name, "sight of the others", sees("abc".replace(name, "")), 3 * limit_s)
    except Failure:
        ledger.measured(f"loss-{percent}", f"not seen after {3 * limit_s:.0f} s", is_met=False)
        return
    took = time.monotonic() - began
    try:
        linked = f"linked after {took + three.until_linked(60):.0f} s"
    except Failure:
        linked = "not linked after 60 s more"
    text = f"all seen by all after {took:.1f} s, {linked}"
    ledger.measured(f"loss-{percent}", text, is_met=took <= limit_s)


def sees(names: str) -> Callable[[Status], bool]:
    def is_seen(status: Status, name: str) -> bool:
        row = peer(status, name)
        return bool(row["links"] or row["heard_by"])

    return lambda status: all(is_seen(status, name) for name in names)


@pytest.mark.soak
def test_dead_servers_do_not_delay_a_link_on_the_same_network(pair: Team, ledger: Ledger) -> None:
    """The addresses are known, so that what is measured is the link and not the search."""
    pair["b"].command("stop")
    pair["a"].command("stop")
    pair.kill()
    servers = (
        "nat.stun_servers=stun:10.77.0.99:3478",
        "nat.turn_servers=turn:u:p@10.77.0.99:3478",
        "discovery.mdns=false",
    )
    pair.start(*servers)
    took = pair.until_linked()
    ledger.measured("dead-stun", f"linked {took:.2f} s after both serve", is_met=took <= 0.5)
