"""What is answered on the loop, and what by a thread: the client cannot tell."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from meshconsole.relay import answering
from tests.relay.making import Clock, signed
from tests.relay.memory import MemoryEventStore
from tests.relay.relay_bench import bench

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshconsole.relay.filter import Filter
    from meshconsole.relay.store import Answer


class Prompt(MemoryEventStore):
    """Answers at once what asks for kind 1, and takes a millisecond for each answer."""

    def __init__(self, clock: SimpleNamespace) -> None:
        super().__init__(Clock())
        self.clock = clock
        self.at_once = 0
        self.in_threads = 0
        self.takes_s = 0.001

    def answer_now(self, filters: Sequence[Filter], cap: int, size: int) -> Answer | None:
        assert threading.current_thread() is threading.main_thread()
        if filters[0].kinds == frozenset({13}):
            raise RuntimeError("out of luck")
        if filters[0].kinds != frozenset({1}):
            return None
        self.at_once += 1
        self.clock.now += self.takes_s
        return super().answer(filters, cap, size)

    def answer(self, filters: Sequence[Filter], cap: int, size: int) -> Answer:
        assert threading.current_thread() is not threading.main_thread()
        self.in_threads += 1
        return super().answer(filters, cap, size)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(answering, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


async def test_what_has_no_answer_at_once_gets_it_from_a_thread(clock: SimpleNamespace) -> None:
    async with bench(store := Prompt(clock)) as b:
        event = signed()
        await b.relay.publish(event)
        client = b.client()
        assert await client.stored("short", {"kinds": [1]}) == [event.id]
        assert await client.stored("long", {"authors": [event.pubkey]}) == [event.id]
        assert (store.at_once, store.in_threads) == (1, 1)


async def test_a_fault_on_the_loop_costs_nobody_an_answer(
    clock: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench(store := Prompt(clock)) as b:
        event = signed(kind=13)
        await b.relay.publish(event)
        assert await b.client().stored("s", {"kinds": [13]}) == [event.id]
        assert store.in_threads == 1
    assert "out of luck" in caplog.text


async def test_while_events_wait_the_loop_gives_a_part_of_its_time_to_answers(clock: SimpleNamespace) -> None:
    async with bench(store := Prompt(clock)) as b:
        client = b.client()
        b.relay._running.clients_waiting += 1
        for number in range(20):
            clock.now += 0.0001
            client.say("REQ", str(number), {"kinds": [1]})
        answered = await client.hear(20)
        assert {message[0] for message in answered} == {"EOSE"}
        assert store.at_once < 20
        assert store.at_once + store.in_threads == 20
        assert store.at_once >= 5, "until the time is used up"
        clock.now += answering.WINDOW_S
        before = store.at_once
        await client.stored("later", {"kinds": [1]})
        assert store.at_once == before + 1
        b.relay._running.clients_waiting -= 1
        for number in range(20):
            client.say("REQ", str(number), {"kinds": [1]})
            await client.hear()
        assert store.at_once == before + 21, "nobody else needs its time"


async def test_what_comes_in_one_piece_does_not_keep_the_loop_from_others(clock: SimpleNamespace) -> None:
    async with bench(store := Prompt(clock)) as b:
        client = b.client()
        for number in range(50):
            client.say("REQ", str(number), {"kinds": [1]})
            clock.now += answering.WINDOW_S  # no end of a turn
        assert 0.009 <= store.at_once * 0.001 <= 0.012
        await client.hear(50)
        before = store.at_once
        await client.stored("later", {"kinds": [1]})
        assert store.at_once == before + 1


async def test_while_the_disk_is_slow_questions_go_to_threads(clock: SimpleNamespace) -> None:
    async with bench(store := Prompt(clock)) as b:
        client = b.client()
        store.takes_s = 0.5
        await client.stored("slow", {"kinds": [1]})
        store.takes_s = 0.001
        clock.now += 0.4 * answering.RESPITE
        await client.stored("meanwhile", {"kinds": [1]})
        assert (store.at_once, store.in_threads) == (1, 1)
        clock.now += 0.1 * answering.RESPITE
        await client.stored("later", {"kinds": [1]})
        assert (store.at_once, store.in_threads) == (2, 1)
