"""NIP-45: one number for all filters, nothing in it that a REQ would not give, CLOSED when refused."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Any

import pytest

from meshconsole.core.errors import Refused
from meshconsole.core.sections import RelaySection
from meshconsole.relay.counting import count_stored
from meshconsole.relay.filter import Filter, parse_filter
from meshconsole.relay.happening import Counting
from meshconsole.relay.relay import Relay
from meshconsole.relay.verbs.count import register_offset
from tests.relay.making import NOW, Clock, Members, Public, fake_npub, npub, signed, unsigned
from tests.relay.memory import MemoryEventStore, ids
from tests.relay.relay_bench import bench as relay_bench
from tests.relay.session_bench import HEX, Bench

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshconsole.relay.store import Tally

PUBKEY = "0123456789abcdef" * 4


def ask(bench: Bench, name: str, *filters: dict[str, Any]) -> Counting:
    happened = bench.tell("COUNT", name, *filters)
    assert len(happened) == 1, bench.said()
    assert isinstance(happened[0], Counting)
    return happened[0]


def test_a_count_is_asked_and_answered() -> None:
    bench = Bench()
    asked = ask(bench, "q", {"kinds": [1]}, {"kinds": [7]})
    assert [wanted.kinds for wanted in asked.filters] == [frozenset({1}), frozenset({7})]
    assert bench.session.reading == 1, "the client is not read while it has too much under way"
    bench.session.counted("q", 5, approximate=False)
    assert bench.session.reading == 0
    assert bench.said() == [["COUNT", "q", {"count": 5}]]


def test_a_count_that_was_broken_off_says_so() -> None:
    bench = Bench()
    ask(bench, "q", {})
    bench.session.counted("q", 5, approximate=True, registers=bytes(256))
    assert bench.said() == [["COUNT", "q", {"count": 5, "approximate": True, "hll": "00" * 256}]]


def test_a_count_that_failed_is_closed() -> None:
    bench = Bench()
    ask(bench, "q", {})
    bench.session.uncounted("q", Refused("error", "the disk is gone"))
    assert bench.said() == [["CLOSED", "q", "error: the disk is gone"]]
    assert bench.session.reading == 0


@pytest.mark.parametrize(
    ("filters", "prefix"),
    [
        ([], "invalid: "),
        ([1], "invalid: "),
        ([{"kinds": "x"}], "invalid: "),
        ([{"unknown": 1}], "unsupported: "),
        ([{}] * 33, "invalid: "),
        ([{"kinds": [4201]}], "restricted: "),
        ([{"kinds": [1059], "#p": [HEX]}], "auth-required: "),
    ],
)
def test_a_refused_count_is_closed_with_a_prefix(filters: list[Any], prefix: str) -> None:
    bench = Bench()
    assert bench.tell("COUNT", "q", *filters) == []
    closed, name, reason = bench.said()[-1]
    assert (closed, name) == ("CLOSED", "q")
    assert reason.startswith(prefix)


def test_a_count_needs_the_same_gate_as_a_req() -> None:
    bench = Bench(Members({npub("alice")}))
    bench.said()
    assert bench.tell("COUNT", "q", {}) == []
    assert bench.said() == [["CLOSED", "q", "auth-required: say who you are"]]


def test_a_count_is_no_subscription() -> None:
    bench = Bench()
    subscription = bench.follow("q")
    ask(bench, "q", {})
    bench.session.deliver(subscription, 5, b"{}")
    assert bench.said() == [["EVENT", "q", {}]]


# --- What is counted ---------------------------------------------------------------------------------


def counted(store: MemoryEventStore, *filters: Filter) -> int:
    return count_stored(store, filters).number


def test_filters_are_ored_without_counting_anything_twice() -> None:
    store = MemoryEventStore(Clock())
    store.add([unsigned(content=str(number)) for number in range(3)])
    store.add([unsigned(kind=7)])
    assert counted(store, Filter(kinds=frozenset({1})), Filter(), Filter(kinds=frozenset({7}))) == 4
    assert counted(store, Filter(ids=frozenset()), Filter(kinds=frozenset({7}))) == 1
    assert counted(store, Filter(ids=frozenset())) == 0
    assert counted(store, Filter(limit=1)) == 4, "a count counts all"
    assert counted(store, Filter(limit=0)) == 4


async def test_replaced_deleted_expired_and_hidden_events_are_not_counted() -> None:
    clock = Clock()
    async with relay_bench(MemoryEventStore(clock)) as b:
        gone = signed(content="gone")
        wrap = signed("one-time", 1059, (("p", npub("bob")),))
        await b.relay.publish_many(
            [
                signed(content="stays"),
                gone,
                signed(kind=0, content="old"),
                signed(kind=0, content="new", created_at=NOW + 1),
                signed(tags=(("expiration", str(NOW + 5)),), content="brief"),
                signed(kind=5, tags=(("e", gone.id),)),
                signed(kind=4202),
                wrap,
            ]
        )
        client = b.client()
        client.say("COUNT", "q", {})
        assert await client.hear() == [["COUNT", "q", {"count": 4}]]  # stays, new, brief, the deletion
        clock.now += 10
        client.say("COUNT", "q", {})
        assert await client.hear() == [["COUNT", "q", {"count": 3}]]
        client.session.client.npubs = (npub("bob"),)
        client.say("COUNT", "q", {"ids": [wrap.id]}, {"kinds": [1059], "#p": [npub("bob")]})
        assert (await client.hear())[0][2]["count"] == 1
        client.session.client.npubs = (npub("alice"),)
        client.say("COUNT", "q", {"ids": [wrap.id]})
        assert await client.hear() == [["COUNT", "q", {"count": 0}]]


async def test_a_count_that_cannot_be_made_is_closed() -> None:
    class Broken(MemoryEventStore):
        def tally(self, *_: object) -> Any:  # noqa: ANN401
            raise RuntimeError("bug")

    async with relay_bench(Broken(Clock())) as b:
        client = b.client()
        client.say("COUNT", "q", {})
        assert await client.hear() == [["CLOSED", "q", "error: an internal error; ask again"]]
        assert client.session.reading == 0


async def test_a_count_that_takes_long_holds_up_no_request() -> None:
    class Slow(MemoryEventStore):
        go_on = threading.Event()

        def tally(self, filters: Sequence[Filter], cap: int) -> Tally:
            self.go_on.wait()
            return super().tally(filters, cap)

    async with relay_bench(Slow(Clock())) as b:
        await b.relay.publish(signed())
        greedy, other = b.client(), b.client()
        for number in range(4):
            greedy.say("COUNT", str(number), {})
        assert len(await other.stored("s", {})) == 1
        Slow.go_on.set()
        assert [answer[2] for answer in await greedy.hear(4)] == [{"count": 1}] * 4


async def test_a_client_that_leaves_while_it_is_counted_hurts_nobody() -> None:
    async with relay_bench() as b:
        client, other = b.client(), b.client()
        client.say("COUNT", "q", {})
        b.relay.disconnect(client.session)
        other.say("COUNT", "q", {})
        assert await other.hear() == [["COUNT", "q", {"count": 0}]]


# --- HyperLogLog -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "offset"),
    [
        ({"#e": [PUBKEY], "kinds": [7]}, 0 + 8),  # the digit at position 32
        ({"#p": ["f" * 64], "kinds": [3]}, 15 + 8),
        ({"#a": [f"30023:{PUBKEY[8:] + PUBKEY[:8]}:x:y"]}, 8 + 8),
        ({"#t": ["nostr"]}, int(hashlib.sha256(b"nostr").hexdigest()[32], 16) + 8),
        ({"#a": ["30023:short:x"]}, int(hashlib.sha256(b"30023:short:x").hexdigest()[32], 16) + 8),
        ({"#q": ["f" * 64], "#t": ["a", "b"]}, 15 + 8),
        ({"#t": ["a", "b"]}, None),
        ({"#t": []}, None),
        ({"kinds": [7]}, None),
    ],
)
def test_the_offset_comes_from_the_first_tag_attribute(fields: dict[str, Any], offset: int | None) -> None:
    assert register_offset([parse_filter(fields)]) == offset


def test_registers_are_for_one_filter() -> None:
    wanted = parse_filter({"#p": ["f" * 64]})
    assert register_offset([wanted, wanted]) is None
    assert register_offset([]) is None


def test_registers_name_distinct_authors() -> None:
    store = MemoryEventStore(Clock())
    target = "f" * 64
    authors = [fake_npub(f"fan {number}") for number in range(50)]
    for number in range(50):
        store.add([unsigned(f"fan {number}", 7, (("e", target),))])
        store.add([unsigned(f"fan {number}", 7, (("e", target),), "again")])
    answer = count_stored(store, [parse_filter({"#e": [target], "kinds": [7]})])
    assert (answer.number, answer.approximate) == (100, False)
    expected = bytearray(256)
    for author in authors:
        key = bytes.fromhex(author)
        bits = "".join(f"{byte:08b}" for byte in key[24:])  # offset 15 + 8 = 23, and what follows it
        zeros = len(bits) - len(bits.lstrip("0"))
        expected[key[23]] = max(expected[key[23]], zeros + 1)
    assert answer.registers == bytes(expected)


def test_no_registers_for_a_count_that_was_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshconsole.relay.counting.MAX_COUNT", 1)
    store = MemoryEventStore(Clock())
    store.add([unsigned("a", 7, (("t", "x"),)), unsigned("b", 7, (("t", "x"),))])
    assert count_stored(store, [parse_filter({"#t": ["x"]})]) == (1, True, b"")


async def test_nip62_a_vanished_author_is_gone_from_every_answer_and_does_not_come_back() -> None:
    emitted: list[object] = []
    relay = Relay(
        MemoryEventStore(Clock()),
        access=Public(),
        emit=emitted.append,
        config=RelaySection(urls=("wss://relay.example",)),
        clock=Clock(),
    )
    await relay.start()
    note, wrap = signed(), signed("one-time", 1059, (("p", npub("alice")),))
    elsewhere = signed(kind=62, tags=(("relay", "wss://other.example"),))
    here = signed(kind=62, tags=(("relay", "wss://relay.example/"),), created_at=NOW + 1)
    later = signed(created_at=NOW + 2)
    await relay.publish_many([note, wrap])
    assert (await relay.publish(elsewhere)).accepted
    assert len(await relay.query([Filter()])) == 3, "a request for another relay is an event like others"
    assert (await relay.publish(here)).accepted
    assert set(ids(await relay.query([Filter()]))) == {here.id, elsewhere.id}
    for again in (note, wrap):
        assert not (await relay.publish(again, via="link", trusted=True)).accepted
    assert (await relay.publish(signed(kind=5, tags=(("e", here.id),), created_at=NOW + 3))).accepted
    assert not (await relay.publish(note)).accepted, "a deletion of the request has no effect"
    assert (await relay.publish(later)).accepted
    await relay.stop()
