"""4 Limits: what the owner allowed, what is used of it, and what was refused for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.console.ink import hidden, wrap
from meshconsole.console.panes.audit import SEVERITY
from meshconsole.console.widgets.meter import Meter, draw_meters
from meshconsole.console.widgets.sheet import Sheet
from meshconsole.console.widgets.spark import spark
from meshconsole.console.words import count_in_words, rate_in_words, short_key, size_in_words
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from meshconsole.console.ink import Line
    from meshconsole.console.model import Model
    from meshconsole.console.profile import Profile
    from meshconsole.core.status import LimitsStatus, RelayStatus


OF_LIMITS = frozenset({"storage-full", "storage-filling", "memory-short", "connections-full", "loop-failed"})
"""What is wrong for want of room; all of it stands in Notices."""
ROOMY = 14
"""Rows from which on there is room for what the relay does."""
TALKERS = 3


class Limits(Sheet, can_focus=True):
    def __init__(self, profile: Profile) -> None:
        super().__init__(title="4 Limits", id="limits", classes="pane")
        self.profile = profile
        self.model: Model | None = None

    def show(self, model: Model) -> None:
        self.model = model
        if model.status is not None:
            limits = model.status.limits
            refused = sum(limits.refusals.values())
            parts = [f"{count_in_words(refused)} refused"] if refused else []
            mode = limits.performance_mode.partition(" ")[0]
            parts.append("degraded" if limits.degraded else f"{mode} mode")
            self.set_border(self.title, f" {self.profile.glyphs.dot} ".join(parts))
        self.update()

    def compose_lines(self, width: int, height: int) -> list[Line]:
        if self.model is None or self.model.status is None:
            return []
        limits = self.model.status.limits
        glyphs = self.profile.glyphs
        lines = self._meters(limits, width)
        urgent: list[Line] = [
            [(line, "warn")] for reason in limits.degraded for line in wrap(reason, max(8, width))
        ]
        refused = sum(limits.refusals.values())
        summary: Line = [("refused ", "dim"), (count_in_words(refused), "warn" if refused else "")]
        summary += [("   cpu ", "dim"), (f"{limits.cpu_percent:.0f} %", "")]
        why = limits.performance_mode.partition(" ")[2].strip("()")
        if why:
            summary += [("   ", ""), (why, "dim")]
        if height < 7:
            # Little room: what is degraded comes before what is merely used.
            return [*urgent, *lines, summary][:height]
        if height >= 9:
            for at, history in ((3, self.model.traffic_out), (2, self.model.traffic_in)):
                lines.insert(at, [(" " * 7, ""), (spark(history.values, width - 7, glyphs.spark), "dim")])
        lines += [summary, *urgent]
        if height >= ROOMY:
            lines += [
                [(line, SEVERITY[item.severity])]
                for item in self.model.status.health
                if item.code in OF_LIMITS
                for line in wrap(safe(item.line), max(8, width))
            ]
            lines += _relay(self.model.status.relay, glyphs.dot, hiding=self.hiding)
        top = sorted(limits.refusals.items(), key=lambda item: -item[1])
        for reason, count in top:
            first, *rest = wrap(reason, max(8, width - 8)) or [""]
            lines.append([(f"{count_in_words(count):>7} ", "warn"), (first, "")])
            lines += [[(" " * 8, ""), (more, "")] for more in rest]
        return lines[:height]

    def _meters(self, limits: LimitsStatus, width: int) -> list[Line]:
        glyphs = self.profile.glyphs
        rates = limits.rate_in_bps, limits.rate_out_bps
        allowed = f" of {limits.max_rate_bps * 8 / 1e6:g}" if limits.max_rate_bps else ""
        connections = f"{limits.connections} of {limits.max_connections}"
        memory = size_in_words(limits.memory_bytes)
        if limits.max_memory_bytes:
            memory += f" of {size_in_words(limits.max_memory_bytes)}"
        meters = [
            Meter("links", limits.connections, limits.max_connections, connections),
            *(
                Meter(label, rate, limits.max_rate_bps, _rate(rate, allowed))
                for label, rate in zip(("in", "out"), rates, strict=True)
            ),
            Meter("memory", limits.memory_bytes, limits.max_memory_bytes, memory),
        ]
        return draw_meters(meters, width, glyphs)


def _relay(relay: RelayStatus, dot: str, *, hiding: bool) -> list[Line]:
    """Its rates, and who keeps it busy."""
    rates = relay.rates
    lines: list[Line] = [
        [
            ("events ", "dim"),
            (f"{rates.events_in:.1f}/s in {dot} {rates.events_out:.1f}/s out", ""),
            (f" {dot} {rates.requests:.1f} requests/s", "dim"),
        ]
    ]
    if relay.slow:
        owed = size_in_words(sum(client.unsent_bytes for client in relay.slow))
        lines.append([("slow   ", "dim"), (f"{len(relay.slow)} not reading, {owed} owed", "warn")])
    for label, talkers in (("from", relay.addresses), ("by", relay.keys)):
        for talker in talkers[:TALKERS]:
            source = short_key(talker.source) if label == "by" else talker.source
            did = f"{count_in_words(talker.events)} events {dot} {size_in_words(talker.bytes_in)} in"
            refused: Line = [(f" {dot} {count_in_words(talker.refused)} refused", "warn")]
            line: Line = [
                (f"{label:<7}", "dim"),
                (f"{hidden(source) if hiding else safe(source)} ", ""),
                (did, "dim"),
            ]
            lines.append(line + (refused if talker.refused else []))
    return lines


def _rate(rate: float, allowed: str) -> str:
    """In the unit of the limit, so that both numbers can be compared."""
    return f"{rate * 8 / 1e6:.1f}{allowed} Mbit/s" if allowed else rate_in_words(rate)
