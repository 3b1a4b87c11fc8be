"""What can be wrong with a node, by code, and when it is worth saying. Pure; `now` is an argument.

Each condition has a severity, a time for which it must stand before it is shown (what comes and goes
does not shout), and the conditions that bring it about: while one of those is shown, it is hidden
behind it, for one cause is worth more to a tired reader than its five consequences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.reachability import Finding
from meshconsole.core.status import HealthItem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshconsole.core.reachability import Outcome


class Condition(msgspec.Struct, frozen=True):
    """`after_s`: so long it must stand without a break before it is shown. `causes`: codes that hide it."""

    code: str
    severity: Severity
    after_s: float = 0.0
    causes: tuple[str, ...] = ()


CONDITIONS: tuple[Condition, ...] = (
    Condition("set-back", "critical"),
    Condition("storage-full", "critical"),
    Condition("audit-behind", "critical"),
    Condition("loop-failed", "critical", causes=("storage-full",)),
    Condition("blocks-away", "critical", after_s=10),
    Condition("emcon", "warning"),
    Condition("relay-public", "warning"),
    Condition("content-damaged", "warning"),
    Condition("blocks-at-risk", "warning", after_s=10, causes=("blocks-away",)),
    Condition("clock", "warning", after_s=30),
    Condition("no-links", "warning", after_s=45, causes=("emcon",)),
    Condition("not-heard", "warning", after_s=30, causes=("emcon", "no-links")),
    Condition("uplink-failing", "warning", after_s=60, causes=("emcon",)),
    Condition("libp2p-down", "warning", after_s=10, causes=("emcon",)),
    Condition("storage-filling", "warning", after_s=60, causes=("storage-full",)),
    Condition("memory-short", "warning", after_s=10),
    Condition("connections-full", "warning", after_s=10),
    Condition("few-copies", "warning", after_s=60, causes=("emcon", "storage-full", "no-links")),
    Condition("rotation-owed", "warning"),
    Condition("proposal", "warning"),
    Condition("proposal-waits", "info"),
    Condition("no-team", "info"),
)
"""The order in which they are told: the gravest first, and a cause before what it brings about."""

BY_CODE = {condition.code: condition for condition in CONDITIONS}
_RANK = {condition.code: rank for rank, condition in enumerate(CONDITIONS)}


class Found(msgspec.Struct, frozen=True):
    """A condition that holds now. `about` tells apart what may hold several times under one code."""

    code: str
    text: str
    remedy: str = ""
    about: str = ""


class Health:
    """Remembers since when each condition holds. `look` may be called as often as one likes."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, str], tuple[float, float]] = {}
        self.items: tuple[HealthItem, ...] = ()
        """As of the last look."""

    def look(self, found: Iterable[Found], now: float, wall: float) -> tuple[HealthItem, ...]:
        """`now` is monotonic, `wall` seconds since the epoch."""
        standing = sorted(found, key=lambda one: _RANK[one.code])
        self._since = {
            (one.code, one.about): self._since.get((one.code, one.about), (now, wall)) for one in standing
        }
        ripe = [one for one in standing if now - self._first(one)[0] >= BY_CODE[one.code].after_s]
        codes = {one.code for one in ripe}
        # A cause that is itself hidden hides all the same: what it depends on is shown in its stead.
        hidden = {code for code in codes if codes & {*BY_CODE[code].causes}}
        self.items = tuple(
            HealthItem(
                one.code,
                BY_CODE[one.code].severity,
                one.text,
                one.remedy,
                since=self._first(one)[1],
                hides=tuple(sorted(code for code in hidden if one.code in BY_CODE[code].causes)),
            )
            for one in ripe
            if one.code not in hidden
        )
        return self.items

    def _first(self, one: Found) -> tuple[float, float]:
        return self._since[one.code, one.about]


def as_finding(item: HealthItem) -> Finding:
    """For `doctor` and `netcheck`: only what is critical makes them fail."""
    outcome: Outcome = "bad" if item.severity == "critical" else "note"
    return Finding(item.code, outcome, item.text, " ".join(filter(None, (item.remedy, item.hidden_words))))
