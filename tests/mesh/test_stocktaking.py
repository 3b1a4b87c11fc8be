"""What blocks are here and there: compared in memory, with what it costs, and with peers that misbehave."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING

import pytest

from meshconsole.core.errors import RemoteError
from meshconsole.mesh.messages import STOCK_IDS, Stock, Stocked, decode_sync, encode
from meshconsole.mesh.stocktaking import MAX_LEARNED, MAX_ROUNDS, MIN_EVERY_S, Stocktaking
from meshconsole.relay.items import ItemVector
from meshconsole.relay.negentropy import Initiator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection


def ids(name: str, count: int) -> set[bytes]:
    return {sha256(f"{name} {n}".encode()).digest() for n in range(count)}


@dataclass
class Side:
    blocks: Collection[bytes] | None
    asks: bool = False
    now: float = 1000.0
    other: Side | None = None
    learned: list[frozenset[bytes]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    sent_bytes: int = 0
    posted: list[Stock | Stocked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.machine = Stocktaking(
            asks=self.asks,
            stock=self.stock,
            post=self.post,
            learned=self.learned.append,
            broken=self.broken.append,
            now=lambda: self.now,
            random=Random(1),
        )

    async def stock(self) -> Collection[bytes] | None:
        return self.blocks

    def post(self, message: Stock | Stocked) -> bool:
        data = encode(message)
        self.sent_bytes += len(data)
        self.posted.append(message)
        if self.other is not None:
            received = decode_sync(data)
            assert isinstance(received, Stock | Stocked)
            self.other.machine.receive(received)
        return True


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Side, Side]]:
    a, b = Side(set(), asks=True), Side(set())
    a.other, b.other = b, a
    answering = asyncio.create_task(b.machine.keep_answering())
    yield a, b
    answering.cancel()
    await asyncio.wait([answering])


@pytest.mark.parametrize(
    ("shared", "only_a", "only_b"), [(0, 0, 0), (0, 3, 0), (5000, 0, 0), (5000, 40, 2500)]
)
async def test_each_learns_what_the_other_has(
    pair: tuple[Side, Side], shared: int, only_a: int, only_b: int
) -> None:
    a, b = pair
    common = ids("common", shared)
    a.blocks, b.blocks = common | ids("a", only_a), common | ids("b", only_b)
    assert await a.machine.compare()
    assert a.learned == [frozenset(ids("b", only_b))]
    assert b.learned == ([frozenset(ids("a", only_a))] if only_a else [])
    assert not a.broken
    assert not b.broken


async def test_it_costs_less_than_a_list_and_next_to_nothing_beside_the_blocks(
    pair: tuple[Side, Side],
) -> None:
    """20,000 blocks on both sides, 100 on one: of at most 1 MiB each. A list of all ids is 640 kB."""
    a, b = pair
    common = ids("common", 20_000)
    a.blocks, b.blocks = common, common | ids("b", 100)
    assert await a.machine.compare()
    spent = a.sent_bytes + b.sent_bytes
    assert a.learned == [frozenset(ids("b", 100))]
    assert spent < 60_000
    a.blocks, b.now = b.blocks, b.now + MIN_EVERY_S
    assert await a.machine.compare()
    assert a.sent_bytes + b.sent_bytes - spent < 1000


async def test_who_has_too_many_or_gives_nothing_says_so(pair: tuple[Side, Side]) -> None:
    a, b = pair
    a.blocks, b.blocks = ids("a", 3), None
    assert not await a.machine.compare()
    a.blocks = None
    sent = a.sent_bytes
    assert not await a.machine.compare()
    assert a.sent_bytes == sent


# Peers that misbehave


async def test_one_comparison_in_a_while(pair: tuple[Side, Side]) -> None:
    a, b = pair
    assert await a.machine.compare()
    assert not await a.machine.compare()
    b.now += MIN_EVERY_S
    assert await a.machine.compare()


def test_a_second_message_before_the_answer_breaks_the_protocol() -> None:
    side = Side(set())
    side.machine.receive(Stock(1, b"a"))
    with pytest.raises(RemoteError) as error:
        side.machine.receive(Stock(1, b"a"))
    assert error.value.code == "bad-stock"


async def test_garbage_ends_the_link(pair: tuple[Side, Side]) -> None:
    a, b = pair
    b.machine.receive(Stock(1, b"\x61\xff\xff\xff\xff\xff\xff"))
    while not b.broken:  # noqa: ASYNC110 - said by a thread's answer
        await asyncio.sleep(0)
    assert len(b.broken) == 1
    assert await a.machine.compare() or not b.learned


async def test_an_asker_that_never_comes_to_an_end_gets_no_more_answers(pair: tuple[Side, Side]) -> None:
    _, b = pair
    b.blocks = ids("b", 100)
    first = Initiator(ItemVector([])).begin()
    asker = Side(set())
    b.other = asker
    for _ in range(MAX_ROUNDS + 1):
        b.machine.receive(Stock(1, first))
        asked = len(b.posted)
        while len(b.posted) == asked:  # noqa: ASYNC110 - it answers in its own time
            await asyncio.sleep(0)
    assert all(isinstance(message, Stocked) and message.data for message in b.posted[:-1])
    assert isinstance(b.posted[-1], Stocked)
    assert not b.posted[-1].data


async def test_a_flood_of_ids_is_not_remembered(pair: tuple[Side, Side]) -> None:
    a, b = pair
    assert await a.machine.compare()
    flood = b"".join(sorted(ids("flood", STOCK_IDS)))
    with pytest.raises(RemoteError):
        b.machine.receive(Stock(1, b"", b"x" * 31))
    for _ in range(2 * MAX_LEARNED // STOCK_IDS):
        b.machine.receive(Stock(1, b"", flood))  # the same ones again cost nothing
    most = MAX_LEARNED // STOCK_IDS - 1
    for n in range(most):
        b.machine.receive(Stock(1, b"", b"".join(sorted(ids(f"flood {n}", STOCK_IDS)))))
    with pytest.raises(RemoteError):
        b.machine.receive(Stock(1, b"", b"".join(sorted(ids(f"flood {most}", STOCK_IDS)))))
    b.machine.receive(Stock(7, b"", flood, is_last=True))  # of no comparison
    assert b.learned == []


async def test_who_has_far_more_blocks_is_asked_for_some_of_them(pair: tuple[Side, Side]) -> None:
    a, b = pair
    b.blocks = ids("b", MAX_LEARNED + 5000)
    assert not await a.machine.compare()
    assert len(a.learned[0]) <= MAX_LEARNED
    assert not a.broken
    assert not b.broken
