"""The way of an event: nothing is answered before its commit, nothing is lost, order is kept."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import pytest

from meshconsole.core.errors import Unavailable
from meshconsole.core.verdict import ACCEPTED, DUPLICATE, Verdict
from meshconsole.relay import checkers, checking
from meshconsole.relay import pipeline as pipeline_module
from meshconsole.relay.checking import FORGED
from meshconsole.relay.event import claimed_id
from meshconsole.relay.pipeline import BROKEN, STOPPING, Offer, Pipeline
from meshconsole.relay.policy import Client, House
from meshconsole.relay.promptness import FEW
from meshconsole.relay.store import FeedRow
from meshconsole.relay.verify import has_valid_signature
from tests.relay.making import NOW, Clock, Public, raw, signed
from tests.relay.memory import MemoryEventStore, ids

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from meshconsole.core.event import Event
    from meshconsole.core.sections import PerformanceMode
    from meshconsole.relay.event import ReadEvent
    from meshconsole.relay.store import Entry, Written
    from meshconsole.relay.verifying import Verifying


class Gated(MemoryEventStore):
    """Commits only while its gate is open; counts what it is asked."""

    def __init__(self) -> None:
        super().__init__(Clock())
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.batches: list[int] = []
        self.asked = 0
        self.looked_for = 0
        """Offers, before their check; a write asks for one event at a time."""

    def write(self, batch: Sequence[Entry]) -> list[Written]:
        self.entered.release()
        self.gate.wait()
        self.batches.append(len(batch))
        return super().write(batch)

    def known(self, ids: Collection[str]) -> set[str]:
        self.asked += 1
        self.looked_for += len(ids) if len(ids) > 1 else 0
        return super().known(ids)


class Bench:
    def __init__(self, store: MemoryEventStore, mode: PerformanceMode) -> None:
        self.store = store
        self.happened: list[tuple[Offer, Verdict, int]] = []
        self.order: list[int] = []
        """The seq of all that was told, here and from elsewhere."""
        self.sent = list[int]()
        """Where answers were sent at once: how many events had been told before."""
        self.pipeline = Pipeline(
            store,
            self._happened,
            Clock(),
            heard=self._heard,
            answered=lambda: self.sent.append(len(self.happened)),
            mode=mode,
        )
        self.client = Client(House(Public()))

    def _happened(self, *what: *tuple[Offer, Verdict, int]) -> None:
        self.happened.append(what)
        self.order += [what[2]] if what[2] else []

    def _heard(self, event: Event, row: FeedRow) -> int:
        self.order.append(row.seq)
        return 0

    def offer(self, event: Event | bytes) -> asyncio.Future[Verdict]:
        answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        data = event if isinstance(event, bytes) else raw(event)
        self.pipeline.offer(Offer(data, claimed_id(data), self.client, "test", answer.set_result))
        return answer

    def offer_own(self, event: Event) -> asyncio.Future[Verdict]:
        """As this node's own: not as bytes."""
        answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self.pipeline.offer(Offer(event, event.id, self.client, "test", answer.set_result))
        return answer

    async def offer_all(self, events: Sequence[Event | bytes]) -> list[Verdict]:
        return list(await asyncio.gather(*map(self.offer, events)))


@asynccontextmanager
async def bench(
    store: MemoryEventStore | None = None, mode: PerformanceMode = "balanced"
) -> AsyncIterator[Bench]:
    made = Bench(store or MemoryEventStore(Clock()), mode)
    try:
        yield made
    finally:
        if isinstance(made.store, Gated):
            made.store.gate.set()
        await made.pipeline.stop()


def forged(event: Event) -> Event:
    return msgspec.structs.replace(event, sig=signed(content="another").sig)


async def until_written(store: Gated) -> None:
    """The writer thread stands in `write`."""
    await asyncio.to_thread(store.entered.acquire)


async def test_an_answer_that_only_one_waits_for_is_sent_before_others_hear_of_the_event() -> None:
    async with bench() as b:
        await b.offer(signed())
        assert b.sent == [0]
        await b.offer(b"{}")
        assert b.sent == [0, 1]
        await b.offer_all([signed(content=str(number)) for number in range(3)])
        assert len(b.sent) == 3, "but for the last of several the turn's end is soon enough"


async def until_processes_are_ready(pipeline: Pipeline) -> list[Verifying]:
    verifiers = pipeline._checkers._verifiers
    assert verifiers is not None
    async with asyncio.timeout(20):
        while not any(process.is_ready for process in verifiers.processes):  # noqa: ASYNC110 - nobody else asks
            await asyncio.sleep(0.005)
    return verifiers.processes


async def test_a_genuine_event_is_stored() -> None:
    async with bench() as b:
        event = signed()
        assert await b.offer(event) == ACCEPTED
        assert b.store.query([], 1) == []
        assert b.store.known([event.id]) == {event.id}
        ((offer, verdict, seq),) = b.happened
        assert (offer.read.event if offer.read else None, verdict, seq) == (event, ACCEPTED, 1)


async def test_modes_change_under_way_and_no_answer_is_lost() -> None:
    async with bench() as b:
        events = [signed(content=f"{number}") for number in range(40)]
        answers, former = [], []
        modes: list[PerformanceMode] = ["full", "saver", "balanced"]
        for number, event in enumerate(events):
            if number % 10 == 5:
                former.append(asyncio.create_task(b.pipeline.set_mode(modes[number // 10 % 3]).stop()))
            answers.append(b.offer(event))
            await asyncio.sleep(0)
        assert set(await asyncio.gather(*answers)) == {ACCEPTED}
        await asyncio.gather(*former)
        assert b.store.count() == len(events)


async def test_forgeries_are_refused() -> None:
    async with bench() as b:
        assert await b.offer(forged(signed())) == FORGED
        assert (await b.offer(b"{}")).code == "invalid"
        not_on_the_curve = msgspec.structs.replace(signed(), pubkey="ff" * 32)
        assert (await b.offer(not_on_the_curve)).code == "invalid"
        assert b.store.count() == 0


@pytest.mark.parametrize("count", [1, FEW, FEW + 1, 300])
async def test_few_and_many_are_checked_alike(count: int) -> None:
    async with bench() as b:
        events: list[Event] = [signed(content=str(n)) for n in range(count)]
        events[count // 2] = forged(events[count // 2])
        verdicts = await b.offer_all(events)
        assert [v.accepted for v in verdicts] == [n != count // 2 for n in range(count)]
        stored = [row.id for row in b.store.feed(0, 1000)]
        assert stored == [event.id for n, event in enumerate(events) if n != count // 2]


async def test_processes_check_what_comes_from_others_and_this_node() -> None:
    async with bench(store := Gated(), "full") as b:
        await until_processes_are_ready(b.pipeline)
        events: list[Event | bytes] = [signed(content=str(n)) for n in range(300)]
        events[7] = forged(signed(content="7"))
        first = await b.offer_all(events)
        assert [v.accepted for v in first] == [n != 7 for n in range(300)]
        assert [row.id for row in store.feed(0, 1000)] == [
            event.id for n, event in enumerate(events) if n != 7 and not isinstance(event, bytes)
        ]
        store.asked = 0
        b.pipeline._recent.clear()
        own = [signed(content=f"own {n}") for n in range(20)]
        answers = [b.offer_own(event) for event in own]
        assert await b.offer_all(events[:7]) == [DUPLICATE] * 7
        assert await asyncio.gather(*answers) == [ACCEPTED] * 20
        assert store.asked > 0


async def test_what_a_process_that_dies_was_given_is_checked_here(caplog: pytest.LogCaptureFixture) -> None:
    async with bench(mode="full") as b:
        processes = await until_processes_are_ready(b.pipeline)
        pids = [process.pid for process in processes]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        events = [signed(content=str(n)) for n in range(400)]
        answers = asyncio.gather(*map(b.offer, [*events, forged(signed(content="forged"))]))
        await asyncio.sleep(0)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        assert await answers == [ACCEPTED] * 400 + [FORGED]
    assert "checked without it" in caplog.text


async def test_large_events_are_not_checked_on_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []

    def watched(read: ReadEvent) -> bool:
        threads.append(threading.current_thread())
        return has_valid_signature(read)

    def watched_reading(offer: Offer) -> ReadEvent | Verdict:
        threads.append(threading.current_thread())
        return checking.check_form(offer)

    monkeypatch.setattr(checking, "has_valid_signature", watched)
    monkeypatch.setattr(checkers, "has_valid_signature", watched)
    monkeypatch.setattr(checkers, "check_form", watched_reading)
    async with bench() as b:
        await b.offer(signed(content="small"))
        assert threads == [threading.main_thread()]
        await b.offer(signed(content="x" * checkers.FEW_BYTES))
        assert len(threads) == 3
        assert threading.main_thread() not in threads[1:]


async def test_nothing_is_answered_before_its_commit() -> None:
    async with bench(store := Gated()) as b:
        store.gate.clear()
        answer = b.offer(signed())
        await until_written(store)
        assert not answer.done()
        assert b.happened == []
        store.gate.set()
        assert await answer == ACCEPTED
        assert len(b.happened) == 1


async def test_what_comes_during_a_commit_is_committed_together() -> None:
    async with bench(store := Gated()) as b:
        store.gate.clear()
        first = b.offer(signed(content="first"))
        await until_written(store)
        others = [b.offer(signed(content=str(n))) for n in range(50)]
        await b.offer(signed(kind=20001))  # leaves the check after them, and needs no commit
        store.gate.set()
        await asyncio.gather(first, *others)
        assert store.batches == [1, 50]


async def test_an_id_under_way_waits_for_the_first_ones_fate() -> None:
    async with bench(store := Gated()) as b:
        store.gate.clear()
        event = signed()
        first = b.offer(event)
        await until_written(store)
        second = b.offer(event)
        await asyncio.sleep(0)
        assert not second.done()
        store.gate.set()
        assert await first == ACCEPTED
        assert await second == DUPLICATE
        assert store.batches == [1]
        assert len(b.happened) == 1


@pytest.mark.parametrize("others", [0, 20])
async def test_a_forgery_does_not_shadow_the_genuine_event(others: int) -> None:
    async with bench() as b:
        event = signed()
        more = [signed(content=str(n)) for n in range(others)]
        verdicts = await b.offer_all([forged(event), event, forged(event), *more])
        assert verdicts[0] == FORGED
        assert verdicts[1] == ACCEPTED
        assert verdicts[2] == DUPLICATE
        assert b.store.known([event.id]) == {event.id}


async def test_a_false_claim_shadows_nothing() -> None:
    """An offer that claims one id and holds another event."""
    async with bench() as b:
        event, other = signed(content="a"), signed(content="b")
        lie = raw(other).replace(b'{"id"', b'{"x":{"id":"' + event.id.encode() + b'"},"id"', 1)
        assert (await b.offer(lie)).code == "invalid"
        assert [v.code for v in await b.offer_all([lie, event, other])] == ["invalid", "", ""]
        assert b.store.known([event.id, other.id]) == {event.id, other.id}


async def test_the_store_is_not_asked_for_duplicates_until_a_write_has_found_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline_module, "LOOK_FOR", 41)
    async with bench(store := Gated()) as b:
        events = [signed(content=str(n)) for n in range(80)]
        await b.offer_all(events[:40])
        await b.offer_all(events[40:])
        assert store.looked_for == 40
        b.pipeline._recent.clear()
        assert await b.offer_all(events[:20]) == [DUPLICATE] * 20
        assert store.looked_for == 40
        assert await b.offer_all(events[20:40]) == [DUPLICATE] * 20
        assert store.looked_for == 60


async def test_recent_duplicates_are_answered_without_work() -> None:
    async with bench(store := Gated()) as b:
        event = signed()
        await b.offer(event)
        store.gate.clear()
        asked = store.asked
        assert await b.offer_all([event] * 100) == [DUPLICATE] * 100
        assert store.asked == asked
        assert len(b.happened) == 1


async def test_older_duplicates_are_found_in_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "RECENT", 0)
    async with bench(store := Gated()) as b:
        events = [signed(content=str(n)) for n in range(20)]
        await b.offer_all(events)
        writes = len(store.batches)
        assert await b.offer_all(events) == [DUPLICATE] * 20
        assert len(store.batches) == writes
        assert await b.offer(events[0]) == DUPLICATE


async def test_what_was_deleted_is_not_called_a_duplicate() -> None:
    async with bench() as b:
        event = signed()
        await b.offer(event)
        await b.offer(signed(kind=5, tags=(("e", event.id),)))
        assert (await b.offer(event)).code == "blocked"


async def test_what_was_replaced_is_not_called_a_duplicate() -> None:
    async with bench() as b:
        old, new = signed(kind=0), signed(kind=0, created_at=NOW + 1)
        assert await b.offer_all([old, new]) == [ACCEPTED, ACCEPTED]
        assert not (await b.offer(old)).accepted


async def test_ephemeral_events_pass_and_leave_nothing() -> None:
    async with bench() as b:
        event = signed(kind=20001)
        assert await b.offer(event) == ACCEPTED
        assert await b.offer(event) == DUPLICATE
        ((_offer, _verdict, seq),) = b.happened
        assert seq == 0
        assert b.store.count() == 0


async def test_an_expired_ephemeral_event_is_refused() -> None:
    async with bench() as b:
        gone = signed(kind=20001, tags=(("expiration", str(NOW)),))
        assert (await b.offer(gone)).code == "invalid"


async def test_policies_judge_after_the_signature() -> None:
    async with bench() as b:
        assert (await b.offer(signed(kind=4201))).code == "restricted"
        assert await b.offer(forged(signed(kind=4201))) == FORGED


class Failing(MemoryEventStore):
    def __init__(self, error: Exception) -> None:
        super().__init__(Clock())
        self.error = error

    def write(self, batch: Sequence[Entry]) -> list[Written]:
        raise self.error


async def test_a_store_that_breaks_is_answered_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with bench(Failing(ZeroDivisionError("bug"))) as b:
        assert await b.offer(signed()) == BROKEN
        assert await b.offer(signed()) == BROKEN
    assert "writing events failed" in caplog.text


class Blind(MemoryEventStore):
    """Cannot be read."""

    def known(self, ids: Collection[str]) -> set[str]:
        raise Unavailable("The database is damaged.")


async def test_a_store_that_cannot_be_read_may_still_be_written() -> None:
    async with bench(Blind(Clock())) as b:
        events = [signed(content=str(n)) for n in range(20)]
        # `write` of the reference uses `known`; what matters is that the check goes past it.
        verdicts = await b.offer_all(events)
        assert {verdict.code for verdict in verdicts} == {"error"}


@pytest.mark.parametrize("mode", ["saver", "balanced"])
async def test_a_check_that_breaks_is_answered(
    mode: PerformanceMode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("bug")

    monkeypatch.setattr(checkers, "check_form", broken)
    async with bench(mode=mode) as b:
        assert await b.offer_all([signed(content=str(n)) for n in range(20)]) == [BROKEN] * 20
    assert "checking events failed" in caplog.text


async def test_stopping_answers_everything() -> None:
    async with bench(store := Gated()) as b:
        store.gate.clear()
        answers = [b.offer(signed(content=str(n))) for n in range(30)]
        stopping = asyncio.ensure_future(b.pipeline.stop())
        await until_written(store)
        assert await b.offer(signed(content="late")) == STOPPING
        store.gate.set()
        await stopping
        assert await asyncio.gather(*answers) == [ACCEPTED] * 30
        assert len(ids(store.fetch(range(1, 31)))) == 30


@pytest.mark.parametrize(("limit", "much"), [("TURN_BYTES", 1000), ("TURN_EVENTS", 2)])
async def test_a_large_commit_is_passed_on_over_several_turns(
    limit: str, much: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_module, limit, much)
    async with bench(store := Gated()) as b:
        happened = b.happened
        turns: list[int] = []
        counting = True

        async def count() -> None:
            while counting:
                turns.append(len(happened))
                await asyncio.sleep(0)

        def passed_on(*what: object) -> int:
            happened.append(what)  # type: ignore[arg-type]
            return 500

        b.pipeline._happened = passed_on
        store.gate.clear()
        first = b.offer(signed(content="first"))
        await until_written(store)
        answers = [b.offer(signed(content=str(n))) for n in range(9)]
        await b.offer(signed(kind=20001))
        counter = asyncio.ensure_future(count())
        store.gate.set()
        await asyncio.gather(first, *answers)
        counting = False
        await counter
    assert store.batches == [1, 9]
    steps = [after - before for before, after in pairwise(turns)]
    assert max(steps) <= 3
    assert [seq for _, _, seq in happened[1:]] == list(range(1, 11))


async def test_what_makes_a_batch_is_checked_at_once_while_more_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline_module, "CHUNK", 20)
    async with bench() as b:
        answers = [b.offer(signed(content=str(n))) for n in range(50)]
        assert [len(batch.offers) for batch in b.pipeline._batches] == [20, 20]
        assert set(await asyncio.gather(*answers)) == {ACCEPTED}


# --- what other processes on one store take in ------------------------------------------------------


def foreign(seq: int, **more: object) -> FeedRow:
    event = signed("elsewhere", content=str(seq), **more)  # type: ignore[arg-type]
    return FeedRow(seq, event.id, event.kind, raw(event))


async def test_what_is_heard_is_told_in_the_order_of_the_log() -> None:
    """A write that is under way may have a lower seq than what is heard before it is answered."""
    store = Gated()
    async with bench(store) as b:
        b.pipeline.hear([foreign(1), foreign(2)])
        assert b.order == [1, 2]
        store._head = 4
        store.gate.clear()
        own = [b.offer(signed(content=str(n))) for n in range(2)]
        await until_written(store)
        b.pipeline.hear([foreign(3), foreign(4), foreign(7)])
        assert b.order == [1, 2]
        store.gate.set()
        await asyncio.gather(*own)
        await asyncio.sleep(0)
        assert b.order == [1, 2, 3, 4, 5, 6, 7]


async def test_ephemeral_events_that_came_to_both_are_told_once() -> None:
    async with bench() as b:
        event = signed(kind=20001)
        row = FeedRow(0, event.id, event.kind, raw(event))
        await b.offer(event)
        b.pipeline.hear([row, foreign(0, kind=20001), foreign(0, kind=20001)])
        assert b.order == [0]


async def test_a_deletion_elsewhere_ends_the_memory_of_recent_ids() -> None:
    async with bench() as b:
        event = signed()
        await b.offer(event)
        deletion = signed(kind=5, tags=(("e", event.id),))
        b.store.add([deletion])
        b.pipeline.hear([FeedRow(2, deletion.id, 5, raw(deletion))])
        assert (await b.offer(event)).code == "blocked"


async def test_a_fault_in_judging_costs_one_event_only(caplog: pytest.LogCaptureFixture) -> None:
    class Faulty(Public):
        asked = 0

        def may_write(self, npubs: Collection[str]) -> Verdict:
            self.asked += 1
            if self.asked == 1:
                raise OSError(24, "Too many open files")
            return super().may_write(npubs)

    async with bench() as b:
        b.client = Client(House(Faulty()))
        verdicts = await b.offer_all([signed(content=str(n)) for n in range(3)])
        assert [verdict.code for verdict in verdicts] == ["error", "", ""]
    assert "judging an event failed" in caplog.text
