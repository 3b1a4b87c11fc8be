"""Clocks that are wrong in every way, simulated: what is believed, what is corrected, and how far it goes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from meshconsole.core.event import decode_event
from meshconsole.core.sections import RelaySection
from meshconsole.mesh.clock import ENOUGH_PEERS, FRESH_S, MAX_AHEAD_S, TeamClock
from meshconsole.relay.filter import Filter
from meshconsole.relay.relay import Relay
from meshconsole.relay.sqlite import SqliteEventStore
from tests.mesh.devices import identity
from tests.mesh.nodes import OpenAccess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from meshconsole.core.event import Event
    from meshconsole.core.status import ClockQuality

TRUE = 1_800_000_000.0
YEAR = 365 * 86_400.0


@dataclass
class World:
    """True time goes on for all; each machine's clock is off by something of its own."""

    elapsed: float = 0.0
    machines: dict[str, Machine] = field(default_factory=dict)

    def add(self, name: str, off_s: float = 0.0, quality: ClockQuality = "device") -> Machine:
        machine = self.machines[name] = Machine(self, off_s, quality)
        return machine

    def talk(self) -> None:
        """Everybody hears everybody's own clock, over links."""
        for name, one in self.machines.items():
            for other in self.machines.values():
                if other is not one:
                    other.clock.heard(name, one.clock.wall() - other.clock.wall(), one.clock.quality)

    def now(self) -> float:
        return TRUE + self.elapsed


class Machine:
    def __init__(self, world: World, off_s: float, quality: ClockQuality) -> None:
        self.off_s = off_s
        self.clock = TeamClock(
            lambda: world.now() + self.off_s, lambda: quality, lambda: 50.0 + world.elapsed
        )
        self._world = world

    def sure(self) -> float | None:
        return self.clock.sure

    @property
    def error_s(self) -> float:
        return self.clock.time() - self._world.now()


def test_one_wrong_clock_of_five_is_corrected_and_moves_nobody() -> None:
    for off in (-3 * 3600.0, YEAR, -YEAR):
        world = World()
        good = [world.add(f"good{n}", n * 0.3) for n in range(4)]
        bad = world.add("bad", off)
        world.talk()
        world.talk()
        assert abs(bad.error_s) < 2.0
        assert bad.clock.effective == "net"
        assert "wrong by" in bad.clock.complaint
        for machine in good:
            assert machine.clock.correction_s == 0.0
            assert machine.clock.complaint == ""


def test_a_machine_that_thinks_it_is_1970_believes_any_peer_and_is_believed_by_none() -> None:
    world = World()
    pi = world.add("pi", -TRUE)
    assert pi.clock.quality == "none"
    assert "never set" in pi.clock.complaint
    peer = world.add("peer")
    world.talk()
    assert abs(pi.error_s) < 1.0
    assert peer.clock.correction_s == 0.0
    many = [world.add(f"pi{n}", -TRUE) for n in range(5)]
    world.talk()
    assert peer.clock.correction_s == 0.0
    assert all(abs(machine.error_s) < 1.0 for machine in many)


@pytest.mark.parametrize("quality", ["ntp", "gps"])
def test_a_clock_that_follows_a_server_is_not_overruled_by_many(quality: ClockQuality) -> None:
    world = World()
    sure = world.add("sure", 0.0, quality)
    for number in range(7):
        world.add(f"wrong{number}", YEAR)
    world.talk()
    assert sure.clock.correction_s == 0.0
    assert "differs by 365 days" in sure.clock.complaint


def test_too_few_peers_change_nothing_and_neither_do_small_differences() -> None:
    world = World()
    one = world.add("one")
    for number in range(ENOUGH_PEERS - 1):
        world.add(f"far{number}", YEAR)
    world.talk()
    assert one.clock.correction_s == 0.0
    near = World()
    other = near.add("other")
    for number in range(5):
        near.add(f"near{number}", 20.0)
    near.talk()
    assert other.clock.correction_s == 0.0


def test_what_was_corrected_is_told_to_nobody() -> None:
    world = World()
    for number in range(3):
        world.add(f"good{number}")
    bad = world.add("bad", YEAR)
    world.talk()
    assert bad.clock.wall() - world.now() == YEAR, "peers are told this, and see that it is wrong"
    known = world.machines["good0"].clock.known_of("bad")
    assert known is not None
    assert known.offset_s == YEAR


def test_what_was_heard_is_not_known_for_ever_but_holds() -> None:
    world = World()
    pi = world.add("pi", -TRUE)
    world.add("peer")
    world.talk()
    world.elapsed += 100 * FRESH_S
    assert pi.clock.known_of("peer") is None
    assert abs(pi.error_s) < 1.0, "or it would serve again what has expired"
    assert "peers is used" in pi.clock.complaint


def test_a_clock_of_ones_own_stays_corrected_until_somebody_sets_it() -> None:
    world = World()
    bad = world.add("bad", YEAR)
    for number in range(ENOUGH_PEERS):
        world.add(f"good{number}")
    world.talk()
    world.elapsed += 2 * FRESH_S
    assert abs(bad.error_s) < 1.0
    bad.off_s = 2.0
    assert bad.clock.correction_s == 0.0
    bad.off_s = YEAR + 3600.0
    assert abs(bad.error_s - 3600.0) < 1.0, "it slept for an hour, which its monotonic clock has not counted"
    bad.off_s = -YEAR / 2
    assert bad.clock.correction_s == 0.0, "its owner's deed"


def test_a_clock_that_jumps_back_to_1970_does_not_take_the_time_with_it() -> None:
    world = World()
    pi = world.add("pi", 1_000_000.0 - TRUE)
    world.add("peer")
    world.talk()
    world.elapsed += 2 * FRESH_S
    pi.off_s = -TRUE
    assert abs(pi.error_s) < 1.0


def test_after_a_restart_in_1970_time_goes_on_from_what_was_sure() -> None:
    world = World()
    pi = world.add("pi", -TRUE)
    assert pi.sure() is None
    world.add("peer")
    world.talk()
    sure = pi.sure()
    assert sure is not None
    world.elapsed += 3600
    again = world.add("pi", -TRUE)
    again.clock.goes_on_from(sure)
    world.elapsed += 60
    assert abs(again.error_s + 3600) < 1.0
    assert again.sure() is None, "peers have not said it"
    assert "goes on" in again.clock.complaint
    world.talk()
    assert abs(again.error_s) < 1.0
    assert again.clock.effective == "net"


@pytest.mark.parametrize(("count", "quality"), [(ENOUGH_PEERS, "device"), (1, "ntp")])
def test_a_wrong_time_gone_on_from_is_overruled_by_those_who_know_better(
    count: int, quality: ClockQuality
) -> None:
    world = World()
    pi = world.add("pi", -TRUE)
    pi.clock.goes_on_from(TRUE + YEAR)
    for number in range(count):
        world.add(f"peer{number}", 0.0, quality)
    world.talk()
    assert abs(pi.error_s) < 1.0
    world.elapsed += FRESH_S + 1
    assert abs(pi.error_s) < 1.0, "nor does it come back when they are gone"


def test_a_clock_that_somebody_keeps_is_not_moved_by_what_was_sure() -> None:
    world = World()
    one = world.add("one")
    one.clock.goes_on_from(TRUE + YEAR)
    assert one.error_s == 0.0
    assert one.clock.sure is None, "a battery's word alone is none to go on from"


def test_an_answer_is_dated_after_what_it_answers() -> None:
    world = World()
    slow = world.add("slow", -60.0)
    question = int(world.now())
    slow.clock.saw(question)
    first = slow.clock.stamp()
    assert first >= question
    assert slow.clock.stamp() >= first


def test_a_date_far_ahead_is_not_followed() -> None:
    world = World()
    machine = world.add("one")
    machine.clock.saw(int(world.now() + YEAR))
    assert machine.clock.stamp() <= world.now() + 1
    machine.clock.saw(int(world.now()) + MAX_AHEAD_S)
    assert machine.clock.stamp() <= world.now() + MAX_AHEAD_S


def test_a_clock_that_is_set_back_does_not_date_notes_far_ahead() -> None:
    world = World()
    off = [600.0]
    clock = TeamClock(lambda: world.now() + off[0], lambda: "device", lambda: world.elapsed)
    clock.stamp()
    off[0] = 0.0
    assert clock.stamp() <= world.now() + MAX_AHEAD_S


def test_a_clock_that_nobody_keeps_but_that_is_credible_is_no_reason_to_complain() -> None:
    world = World()
    assert world.add("container", 0.0, "none").clock.complaint == ""


# What the relay makes of dates, by such a clock: NIP-40, and the window of `created_at`.

MINUTE = 60


@asynccontextmanager
async def relay_of(machine: Machine, folder: Path) -> AsyncIterator[Relay]:
    """As the node joins them."""
    clock = machine.clock.time
    store = SqliteEventStore(folder / "events.db", b"k" * 32, b"t" * 32, clock=clock)
    config = RelaySection(max_future_s=15 * MINUTE)
    relay = Relay(store, access=OpenAccess(), emit=lambda _: None, config=config, clock=clock)
    await relay.start()
    try:
        yield relay
    finally:
        await relay.stop()
        store.close()


def note(text: str, written_s: float = 0, *, expires_s: float | None = None) -> Event:
    """Times are from TRUE on."""
    tags = () if expires_s is None else (("expiration", str(int(TRUE + expires_s))),)
    return identity("alice").sign(1, tags, text, int(TRUE + written_s))


async def texts(relay: Relay) -> set[str]:
    return {decode_event(raw).content for raw in await relay.query([Filter()])}


async def test_a_relay_in_1970_loses_nothing_and_serves_what_has_expired_no_more_once_a_peer_is_heard(
    tmp_path: Path,
) -> None:
    world = World()
    pi = world.add("pi", -TRUE)
    async with relay_of(pi, tmp_path) as relay:
        for one in (note("lasts"), note("over", -MINUTE, expires_s=-1), note("soon", expires_s=MINUTE)):
            assert (await relay.publish(one, via="flash", trusted=True)).accepted, "it knows no better"
        assert await texts(relay) == {"lasts", "over", "soon"}
        world.add("peer")
        world.talk()
        assert await texts(relay) == {"lasts", "soon"}
        verdict = await relay.publish(note("over as well", expires_s=-1), via="flash", trusted=True)
        assert not verdict.accepted
        world.elapsed += 2 * MINUTE
        assert await texts(relay) == {"lasts"}


async def test_a_relay_in_1970_takes_what_clients_write_now_once_a_peer_is_heard(tmp_path: Path) -> None:
    world = World()
    pi = world.add("pi", -TRUE)
    async with relay_of(pi, tmp_path) as relay:
        now, ahead = note("now", MINUTE), note("next year", YEAR)
        for one in (now, ahead):
            assert "ahead of this relay's clock" in (await relay.publish(one, via="client")).sentence
        world.add("peer")
        world.talk()
        assert (await relay.publish(now, via="client")).accepted, "the first refusal does not stick"
        assert "ahead of this relay's clock" in (await relay.publish(ahead, via="client")).sentence
