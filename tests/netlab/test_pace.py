"""How quick links are on ways that are far or lossy, and when a way is back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.netlab.impairment import Impairment
from tests.netlab.team import has_link, is_cut_off, peer
from tests.netlab.traffic import percentile, send_notes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.netlab.figures import Ledger
    from tests.netlab.lab import Lab
    from tests.netlab.team import Team

pytestmark = [pytest.mark.netlab, pytest.mark.soak]

FAR = Impairment(delay_ms=25)
"""50 ms there and back, since both directions of the port have it."""
SPARSE = 300
ALIVE_FOR_S = 40.0
CUT_FOR_S = 60.0


@pytest.mark.timeout(180)
def test_sparse_notes_come_soon_at_five_percent_loss(lab: Lab, pair: Team, ledger: Ledger) -> None:
    """By the moments at which both nodes stored each note: the nodes share this machine's clock."""
    lab.impair("a", Impairment(delay_ms=25, loss_percent=5))
    texts = [f"sparse {n}" for n in range(SPARSE)]
    send_notes(pair["a"], texts, pause_s=0.1)
    pair.until_event("b", texts[-1])
    views = {name: pair[name].json("events", "--limit", str(2 * SPARSE)) for name in "ab"}
    stored = {name: {view["text"]: view["received_at"] for view in views[name]} for name in "ab"}
    took = [stored["b"][text] - stored["a"][text] for text in texts if text in stored["b"]]
    half, late, last = (percentile(took, share) for share in (0.5, 0.99, 1.0))
    figures = f"p50 {half * 1000:.0f} ms, p99 {late * 1000:.0f} ms, last {last * 1000:.0f} ms"
    text = f"{len(took)} of {SPARSE}: {figures}"
    ledger.measured("sparse", text, is_met=len(took) == SPARSE and late <= 0.2)


def test_a_link_over_a_far_way_is_made_soon(lab: Lab, team: Callable[..., Team], ledger: Ledger) -> None:
    """From the dial to the end of both handshakes, as the side that dialled says."""
    lab.hosts("a", "b")
    pair = team("a", "b")
    lab.impair("a", FAR)
    pair.start()
    pair.until_linked()
    attempts = [
        attempt
        for one, other in ("ab", "ba")
        for attempt in peer(pair[one].json("status"), other)["attempts"]
        if attempt["outcome"] == "linked"
    ]
    took = max(attempt["took_s"] for attempt in attempts)
    ledger.measured("connect", f"linked {took:.2f} s after the dial", is_met=took <= 0.5)


@pytest.mark.timeout(180)
def test_a_link_lives_at_seven_hundred_milliseconds(lab: Lab, pair: Team, ledger: Ledger) -> None:
    before = [link["since"] for link in peer(pair["a"].json("status"), "b")["links"]]
    lab.impair("a", Impairment(delay_ms=350))
    time.sleep(ALIVE_FOR_S)
    row = peer(pair["a"].json("status"), "b")
    same = [link for link in row["links"] if link["since"] in before]
    rtt_ms = max((link["rtt_ms"] or 0 for link in same), default=0)
    text = f"{row['state']} after {ALIVE_FOR_S:.0f} s over the same link, {rtt_ms:.0f} ms measured"
    ledger.measured("far", text if same else "the link was lost", is_met=bool(same) and row["state"] == "up")


@pytest.mark.timeout(240)
def test_a_link_is_made_again_as_soon_as_the_way_is_back(lab: Lab, pair: Team, ledger: Ledger) -> None:
    lab.partition(["a"], ["b"])
    cut = time.monotonic()
    for name, other in ("ab", "ba"):
        pair.until(name, "the end of its link", is_cut_off(other), 45)
    time.sleep(max(0.0, cut + CUT_FOR_S - time.monotonic()))
    healed = time.time()
    lab.heal()
    pair.until("a", "a link again", lambda status: has_link(status, "b"), 30)
    took = min(link["since"] for link in peer(pair["a"].json("status"), "b")["links"]) - healed
    text = f"linked {took:.2f} s after the way was back, which was cut for {CUT_FOR_S:.0f} s"
    ledger.measured("again", text, is_met=took <= 1)
