"""What one client may take of the threads for counts and negotiations, and that it waits for more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from meshconsole.core.sections import RelaySection
from meshconsole.relay import pacing
from meshconsole.relay.session import WORK, WORK_S
from tests.relay.making import signed
from tests.relay.relay_bench import bench
from tests.relay.session_bench import Bench

if TYPE_CHECKING:
    from collections.abc import Callable


class Loop:
    """A loop whose time stands still, and what waits on it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.later: list[tuple[float, Callable[..., object], object]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, do: Callable[..., object], what: object) -> None:
        self.later.append((delay, do, what))

    def call_soon_threadsafe(self, do: Callable[..., object], *arguments: Any) -> None:  # noqa: ANN401
        do(*arguments)


def test_whoever_took_much_waits_and_others_do_not() -> None:
    loop: Any = Loop()
    busy, other = Bench().session, Bench().session
    done: list[str] = []
    pacing.in_turn(busy, loop, done.append, "first")
    pacing._charge(busy, loop, WORK_S + 1)
    pacing.in_turn(busy, loop, done.append, "second")
    pacing.in_turn(other, loop, done.append, "another's")
    assert done == ["first", "another's"]
    ((delay, do, what),) = loop.later
    assert round(delay, 3) == 1 / WORK
    assert (do, what) == (done.append, "second")
    loop.now += delay
    pacing.in_turn(busy, loop, done.append, "third")
    assert done[-1] == "third"


def test_without_rate_limits_nobody_waits() -> None:
    loop: Any = Loop()
    session = Bench(rate_limits=False).session
    done: list[str] = []
    pacing._charge(session, loop, 1000)
    pacing.in_turn(session, loop, done.append, "at once")
    assert done == ["at once"]


async def test_what_counts_and_negotiations_take_is_the_clients_and_it_waits_for_more() -> None:
    async with bench(config=RelaySection()) as b:
        await b.relay.publish(signed())
        client = b.client()
        client.say("COUNT", "c", {})
        client.say("NEG-OPEN", "n", {}, "6100000200")
        assert {message[0] for message in await client.hear(2)} == {"COUNT", "NEG-MSG"}
        work = client.session.work
        assert work.level < WORK_S, "both were charged"
        work.take(1000, work.updated)
        client.say("COUNT", "c", {})
        client.say("NEG-MSG", "n", "6100000200")
        other = b.client()
        other.say("COUNT", "c", {})
        other.say("NEG-OPEN", "n", {}, "6100000200")
        assert {message[0] for message in await other.hear(2)} == {"COUNT", "NEG-MSG"}
        assert client.heard.empty()
        assert client.session.reading == 2, "and they count among what it has under way"
        b.relay.apply(replace(b.relay.config, rate_limits=False))
        client.say("COUNT", "more", {})
        assert (await client.hear())[0][:2] == ["COUNT", "more"]
