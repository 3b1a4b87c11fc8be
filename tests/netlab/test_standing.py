"""Faults of who is who and when: wrong clocks, removed members, radio silence."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from tests.netlab.team import has_link, peer
from tests.netlab.traffic import Arrivals, send_notes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.netlab.figures import Ledger
    from tests.netlab.lab import Lab
    from tests.netlab.team import Team

pytestmark = [pytest.mark.netlab, pytest.mark.soak]

SILENT_FOR_S = 600.0
"""Of the silent node's own time, which passes HASTE times as fast: each of its timers fires as often as in
ten minutes."""
HASTE = 10
_KERNEL = ("arp", "icmp", "icmp6", "igmp")
"""Protocols that the system speaks by itself."""


DAY_S = 86_400
LONG_AGO = "2024-01-01 00:00:00"


@pytest.mark.parametrize(
    ("key", "clock"), [("clock", "+1y"), ("clock-behind", "-3h"), ("clock-never-set", f"@{LONG_AGO}")]
)
def test_a_wrong_clock_stays_where_it_is(
    key: str, clock: str, lab: Lab, team: Callable[..., Team], ledger: Ledger
) -> None:
    """That of b. What it writes in a year that cannot be (before this program was) is dated by its peers'."""
    lab.hosts("a", "b", "c")
    three = team("a", "b", "c")
    three.set_clock("b", clock)
    off_s = {"+1y": 365.0 * DAY_S, "-3h": -3 * 3600.0}.get(clock, 0.0)
    if not off_s:
        off_s = datetime.fromisoformat(LONG_AGO).astimezone().timestamp() - time.time()
    three.start()
    three.until_linked()
    heard = {name: Arrivals(three[name]) for name in "abc"}
    texts = {name: f"from {name}" for name in "bac"}
    for name, text in texts.items():
        send_notes(three[name], [text])
        for other in heard.values():
            other.wait([text], 20)
    came = sum(other.wait(texts.values(), 1) for other in heard.values())
    shown = {name: [v for v in three[name].json("events") if v["text"] in texts.values()] for name in "ac"}
    orders = {name: [view["text"] for view in views] for name, views in shown.items()}
    in_order = all(order == list(texts.values()) for order in orders.values())
    own = [view["created_at"] for view in shown["c"] if view["text"] == "from c"]
    spread = any(abs(at - time.time()) > 3600 for at in own)
    pong = three["a"].json("ping", "b", "--count", "1")
    skew_s = pong["clock_offset_s"]
    order, far = "in order" if in_order else "out of order", "spread" if spread else "not spread"
    shown_as = f"{skew_s / DAY_S:+.0f} days" if abs(skew_s) > DAY_S else f"{skew_s / 3600:+.1f} hours"
    text = f"{came} of 9 notes came, {order}, skew shown: {shown_as}, {far}"
    # The host's own clock moves on while the nodes start.
    is_shown = abs(skew_s - off_s) < max(120, abs(off_s) / 100)
    ledger.measured(key, text, is_met=came == 9 and in_order and is_shown and not spread)


@pytest.mark.timeout(300)
def test_who_was_removed_is_not_heard_any_more(lab: Lab, team: Callable[..., Team], ledger: Ledger) -> None:
    """d is removed while it is cut off with c, writes on, and c carries it over when the net is whole."""
    lab.hosts("a", "b", "c", "d")
    four = team("a", "b", "c", "d")
    four.start()
    four.until_linked()
    lab.partition(["a", "b"], ["c", "d"])
    four.until("c", "the end of its link to a", lambda status: not has_link(status, "a"), 45)
    npub = four["d"].json("status")["npub"]
    four["a"].command("team", "remove", npub, "--yes")
    send_notes(four["d"], ["written after the removal"])
    lab.heal()
    for name in "bc":
        four.until(
            name, "the removal", lambda status: all(m["name"] != "d" for m in status["team"]["members"]), 60
        )
    send_notes(four["a"], ["under the new key"])
    for name in "bc":
        four.until_event(name, "under the new key")
    authors = {
        name: {
            view["author"]
            for view in four[name].json("events")
            if view["text"] == "written after the removal"
        }
        for name in "abc"
    }
    unmarked = [name for name, shown in authors.items() if not shown <= {"d (removed)"}]
    reads_on = "under the new key" in four["d"].texts()
    marked = f"not marked by {', '.join(unmarked)}" if unmarked else "marked by all who have it"
    text = f"its later note is {marked}; it {'reads' if reads_on else 'does not read'} what follows"
    ledger.measured("removed", text, is_met=not unmarked and not reads_on and bool(authors["c"]))


@pytest.mark.timeout(300)
def test_radio_silence_is_silence(lab: Lab, team: Callable[..., Team], ledger: Ledger) -> None:
    """What the system's kernel says by itself (ARP, neighbour discovery) is counted apart."""
    lab.hosts("a", "b")
    pair = team("a", "b")
    pair.hasten("b", HASTE)
    pair.start()
    pair.until_linked()
    pair["b"].command("config", "set", "privacy.emcon=receive-only")
    pair.until("b", "the end of its links", lambda status: not has_link(status, "a"))
    time.sleep(2)
    before, began = lab.port("b").sent.copy(), pair["b"].json("status")["now"]
    heard = Arrivals(pair["b"])
    send_notes(pair["a"], ["to the silent"], precedence="flash")
    came = heard.wait(["to the silent"], 20)
    while (passed := pair["b"].json("status")["now"] - began) < SILENT_FOR_S:
        time.sleep((SILENT_FOR_S - passed) / HASTE)
    sent = lab.port("b").sent - before
    own = sum(count for name, count in sent.items() if name not in _KERNEL)
    kernel = sum(sent.values()) - own
    hears = bool(peer(pair["b"].json("status"), "a")["heard_by"])
    span = f"{passed / 60:.1f} minutes of the node's time"
    text = (
        f"{own} bytes of the node and {kernel} of its kernel in {span}; beacons "
        f"{'heard' if hears else 'not heard'}, a flash note {'received' if came else 'not received'}"
    )
    ledger.measured("silence", text, is_met=own == 0 and hears and came == 1)
