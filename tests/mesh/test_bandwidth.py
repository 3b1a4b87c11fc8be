"""What a link carries, on simulated links with a clock of the test's own."""

from __future__ import annotations

from dataclasses import dataclass, field

from meshconsole.mesh.bandwidth import TRY_FIRST_S, Bandwidth


@dataclass
class SlowLink:
    """Something always waits, at `rate` bytes a second, unless it is idle."""

    bandwidth: Bandwidth = field(default_factory=Bandwidth)
    now: float = 100.0
    sent: float = 0.0
    history: list[str] = field(default_factory=list)

    def run(self, seconds: int, rate: float, rtt_s: float | None = 0.05, *, busy: bool = True) -> str:
        for _ in range(seconds):
            self.now += 1.0
            self.sent += rate
            carries = self.bandwidth.sample(self.now, int(self.sent), waiting=busy, rtt_s=rtt_s)
            if not self.history or self.history[-1] != carries:
                self.history.append(carries)
        return self.bandwidth.carries


def test_a_quick_link_and_an_idle_one_carry_everything() -> None:
    assert SlowLink().run(60, 5_000_000) == "full"
    assert SlowLink().run(600, 0, rtt_s=0.7, busy=False) == "full"


def test_64_kbit_a_second_carry_events_only_and_2_kbit_flash_only() -> None:
    assert SlowLink().run(8, 8_000, rtt_s=0.7) == "events only"
    assert SlowLink().run(8, 250, rtt_s=0.7) == "flash only"


def test_a_link_with_a_long_round_trip_is_poor_even_when_idle() -> None:
    assert SlowLink().run(8, 0, rtt_s=4.0, busy=False) == "events only"
    assert SlowLink().run(8, 0, rtt_s=9.0, busy=False) == "flash only"


def test_a_short_stall_changes_nothing() -> None:
    link = SlowLink()
    link.run(10, 2_000_000)
    assert link.run(3, 0) == "full"
    link.run(10, 2_000_000)
    assert link.history == ["full"]


def test_a_link_that_is_good_again_is_found_to_be_so() -> None:
    link = SlowLink()
    link.run(8, 8_000)
    assert link.run(4, 500_000) == "full", "it was seen to carry much"
    assert link.run(8, 100) == "flash only"
    assert link.run(int(4 * TRY_FIRST_S) + 4, 0, busy=False) == "full", (
        "it answered quickly for a while, and was tried step by step"
    )


def test_a_link_at_the_edge_is_tried_less_and_less() -> None:
    link = SlowLink()
    for _ in range(1800):
        # Blocks fill it as soon as they may; events alone do not.
        busy = link.bandwidth.carries == "full"
        link.run(1, 8_000 if busy else 0, busy=busy)
    assert link.history.count("full") <= 7, "half an hour; without hysteresis it would be fifty times"
