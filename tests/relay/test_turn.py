"""What is done at the end of a loop's turn."""

from __future__ import annotations

import asyncio

from meshconsole.relay.turn import TurnEnd


async def test_all_of_a_turn_is_done_in_the_next_in_order() -> None:
    end, done = TurnEnd(), list[int]()
    for number in range(3):
        end.do(lambda number=number: done.append(number))  # type: ignore[misc]
    assert done == []
    await asyncio.sleep(0)
    assert done == [0, 1, 2]
    await asyncio.sleep(0)
    assert done == [0, 1, 2]


async def test_what_is_asked_for_meanwhile_waits_for_the_next_turn() -> None:
    end, done = TurnEnd(), list[str]()

    def again() -> None:
        done.append("first")
        end.do(lambda: done.append("again"))

    end.do(again)
    await asyncio.sleep(0)
    assert done == ["first"]
    await asyncio.sleep(0)
    assert done == ["first", "again"]


async def test_a_fault_is_reported_and_keeps_nobody_from_his_turn() -> None:
    faults: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))
    end, done = TurnEnd(), list[str]()
    end.do(lambda: done.append("before"))
    end.do(lambda: [][0])
    end.do(lambda: done.append("after"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert done == ["before", "after"]
    assert [type(fault) for fault in faults] == [IndexError]


async def test_what_cannot_wait_is_done_at_once_and_once_only() -> None:
    faults: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))
    end, done = TurnEnd(), list[str]()
    end.do(lambda: done.append("now"))
    end.do(lambda: [][0])
    end.do(lambda: done.append("after the fault"))
    end.run_now()
    assert done == ["now"]
    assert len(faults) == 1
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert done == ["now", "after the fault"]
    end.run_now()
    assert done == ["now", "after the fault"]
