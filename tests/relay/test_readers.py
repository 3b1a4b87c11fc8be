"""Connections for reading: how many there are, and when a query has taken too long."""

from __future__ import annotations

import threading
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from sqlcipher3 import dbapi2

from meshconsole.core.errors import Fatal
from meshconsole.relay import readers as module
from meshconsole.relay.readers import MAX_READERS, PATIENCE, PromptReader, Readers

LONG = "with recursive n(i) as (select 1 union all select i + 1 from n limit 100000) select count(*) from n"


def in_memory() -> Any:  # noqa: ANN401
    return dbapi2.connect(":memory:", isolation_level=None, check_same_thread=False)


@pytest.mark.parametrize(
    ("worked", "passed", "is_over"),
    [
        (0.0, 0.0, False),
        (9.0, 9.0, False),
        (0.0, 11.0, False),
        (11.0, 11.0, True),
        (0.0, 10 * PATIENCE + 1, True),
    ],
)
def test_what_counts_is_the_processors_time_and_only_at_last_the_clock(
    monkeypatch: pytest.MonkeyPatch, worked: float, passed: float, is_over: bool
) -> None:
    now = {"worked": 100.0, "passed": 1000.0}
    clocks = SimpleNamespace(thread_time=lambda: now["worked"], monotonic=lambda: now["passed"])
    monkeypatch.setattr(module, "time", clocks)
    readers = Readers(in_memory)
    for _ in range(2):  # each time its own budget
        with readers.reading(10.0) as connection:
            now["worked"] += worked
            now["passed"] += passed
            if is_over:
                with pytest.raises(dbapi2.OperationalError, match="interrupted"):
                    connection.execute(LONG).fetchone()
            else:
                assert connection.execute(LONG).fetchone() == (100_000,)
    readers.close()


def test_renewed_readers_are_opened_when_they_are_needed() -> None:
    opened: list[Any] = []

    def connect() -> Any:  # noqa: ANN401
        opened.append(in_memory())
        return opened[-1]

    readers = Readers(connect)
    for expected in (1, 1):
        with readers.reading(10.0) as connection:
            assert connection is opened[-1]
        assert len(opened) == expected
    readers.renew()
    with readers.reading(10.0), pytest.raises(dbapi2.ProgrammingError, match="closed"):
        opened[0].execute("select 1")
    assert len(opened) == 2
    for _ in range(MAX_READERS):
        readers.renew()
        with readers.reading(10.0):
            pass
    readers.close()


def test_readers_wait_for_a_connection_and_for_no_closed_store() -> None:
    opened: list[object] = []

    def connect() -> Any:  # noqa: ANN401
        opened.append(None)
        return in_memory()

    readers, done = Readers(connect), list[int]()
    inside, go_on = threading.Semaphore(0), threading.Event()

    def read(number: int) -> None:
        with readers.reading(5.0):
            inside.release()
            go_on.wait()
            done.append(number)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(3 * MAX_READERS)]
    for thread in threads:
        thread.start()
    for _ in range(MAX_READERS):
        inside.acquire()
    assert not inside.acquire(blocking=False)
    go_on.set()
    for thread in threads:
        thread.join()
    assert sorted(done) == list(range(3 * MAX_READERS))
    assert len(opened) == MAX_READERS
    readers.close()
    with pytest.raises(Fatal), readers.reading(5.0):
        pass


def test_a_prompt_reader_waits_for_nobody() -> None:
    reader = PromptReader(in_memory)

    def meanwhile(connection: Any) -> tuple[int, object]:  # noqa: ANN401
        return connection.execute("select 1").fetchone()[0], reader.ask(lambda _: "never", 5.0)

    assert reader.ask(meanwhile, 5.0) == (1, None)
    assert reader.ask(lambda connection: connection.execute("select 2").fetchone(), 5.0) == (2,)
    reader.close()
    assert reader.ask(lambda _: "never", 5.0) is None


def test_a_prompt_reader_breaks_off_what_takes_long() -> None:
    reader = PromptReader(in_memory)
    with pytest.raises(dbapi2.OperationalError, match="interrupted"):
        reader.ask(lambda connection: connection.execute(LONG).fetchone(), 0.0)
    assert reader.ask(lambda connection: connection.execute("select 1").fetchone(), 5.0) == (1,)
    reader.close()


@pytest.mark.parametrize("steps", range(1, 8))
@pytest.mark.parametrize("budget_s", [-1.0, 10.0])
def test_what_was_broken_off_leaves_no_transaction_behind(
    monkeypatch: pytest.MonkeyPatch, steps: int, budget_s: float
) -> None:
    """Its end is a statement as well, and so is its beginning: each may be where the clock is looked at."""
    monkeypatch.setattr(module, "PROMPT_STEPS", steps)
    monkeypatch.setattr(module, "STEPS_BETWEEN_LOOKS", steps)
    connection, others = in_memory(), in_memory()
    reader, readers = PromptReader(lambda: connection), Readers(lambda: others)

    def question(connection: Any) -> Any:  # noqa: ANN401
        monkeypatch.setattr(reader._reader, "_until", -1.0)
        return connection.execute("select 7").fetchone()

    for _ in range(30):
        with suppress(dbapi2.OperationalError):
            reader.ask(question, budget_s)
        assert not connection.in_transaction
        with suppress(dbapi2.OperationalError), readers.reading(min(budget_s, 0.0)):
            others.execute("select 7")
        assert not others.in_transaction
    reader.close()
    readers.close()
