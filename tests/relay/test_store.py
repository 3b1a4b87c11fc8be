"""What every event store must do, run on each of them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from meshconsole.core.verdict import ACCEPTED, DUPLICATE
from meshconsole.relay.filter import Filter
from meshconsole.relay.store import EventStore, as_entry
from tests.relay.held import ALL, STORED, SUPERSEDED, codes, deletion, held
from tests.relay.making import NOW, fake_npub, raw, unsigned
from tests.relay.memory import ids

# --- taking in -------------------------------------------------------------------------------------


def test_an_event_comes_back_byte_for_byte(store: EventStore) -> None:
    event = unsigned(content='é "x" \\ \n', tags=(("t", "é"),))
    assert store.add([event]) == [ACCEPTED]
    assert store.query(ALL, 10) == [raw(event)]
    assert store.get([event.id]) == [raw(event)]


def test_the_bytes_given_are_the_bytes_kept(store: EventStore) -> None:
    event = unsigned()
    store.write([as_entry(event)._replace(raw=raw(event) + b" ")])
    assert store.get([event.id]) == [raw(event) + b" "]


def test_a_known_event_is_a_duplicate(store: EventStore) -> None:
    event = unsigned()
    assert store.add([event, event]) == [ACCEPTED, DUPLICATE]
    assert store.add([event]) == [DUPLICATE]
    assert store.count() == 1


def test_an_empty_batch_is_nothing(store: EventStore) -> None:
    assert store.write([]) == []


def test_ephemeral_events_are_not_kept(store: EventStore) -> None:
    assert not store.add([unsigned(kind=20000)])[0].accepted
    assert store.count() == 0


def test_known(store: EventStore) -> None:
    here, gone = unsigned(content="here"), unsigned(content="gone")
    store.add([here])
    assert store.known([here.id, gone.id]) == {here.id}
    assert store.known([]) == set()


def test_usage_counts(store: EventStore) -> None:
    store.add([unsigned(content=str(n)) for n in range(3)])
    assert store.usage().count == store.count() == 3
    assert store.usage().bytes > 0


def test_settled_ids_are_held_or_refused_for_good(store: EventStore) -> None:
    old, new = unsigned(kind=0), unsigned(kind=0, created_at=NOW + 1)
    gone, early, unknown = (unsigned(content=text) for text in ("gone", "early", "unknown"))
    late = unsigned(tags=(("expiration", str(NOW - 1)),))
    store.add([old, new, gone, deletion(("e", gone.id), ("e", early.id)), late])
    asked = [event.id for event in (old, new, gone, early, unknown, late)]
    assert store.settled(asked) == {old.id, new.id, gone.id, late.id}
    assert not store.add([early])[0].accepted
    assert store.settled(asked) == {old.id, new.id, gone.id, late.id, early.id}
    assert store.settled([]) == set()


# --- order and limits ------------------------------------------------------------------------------


def test_newest_first_then_lowest_id(store: EventStore) -> None:
    events = [unsigned(content=str(n), created_at=NOW + n % 3) for n in range(12)]
    store.add(events)
    assert held(store) == [e.id for e in sorted(events, key=lambda e: (-e.created_at, e.id))]


def test_a_limit_keeps_the_newest(store: EventStore) -> None:
    events = [unsigned(content=str(n), created_at=NOW + n) for n in range(5)]
    store.add(events)
    assert held(store, Filter(limit=2)) == [events[4].id, events[3].id]
    assert held(store, Filter(limit=0)) == []
    assert held(store, Filter(limit=50), limit=3) == [e.id for e in events[:1:-1]]


def test_limits_are_per_filter_and_events_come_once(store: EventStore) -> None:
    notes = [unsigned(content=str(n), created_at=NOW + n) for n in range(3)]
    likes = [unsigned(kind=7, content=str(n), created_at=NOW + 10 + n) for n in range(3)]
    store.add(notes + likes)
    both = Filter(kinds=frozenset({1, 7}), limit=1)
    found = held(store, Filter(kinds=frozenset({1}), limit=2), Filter(kinds=frozenset({7}), limit=1), both)
    assert found == [likes[2].id, notes[2].id, notes[1].id]


def test_nip67_selection_says_whether_a_limit_cut_something_off(store: EventStore) -> None:
    store.add([unsigned(content=str(n)) for n in range(3)])
    assert store.select([Filter(limit=3)], 10).complete is True, "as many as there are is all"
    assert store.select([Filter(limit=2)], 10).complete is False
    assert store.select([Filter(limit=4)], 10).complete is True
    assert store.select([Filter(limit=0)], 10).complete is False
    assert store.select([Filter(kinds=frozenset({7}), limit=0)], 10).complete is True
    assert store.select(ALL, 2).complete is False
    assert store.select(ALL, 3).complete is True


def test_nip67_what_one_filter_leaves_out_may_come_by_another(store: EventStore) -> None:
    store.add([unsigned(content=str(n)) for n in range(3)])
    assert store.select([Filter(limit=1), *ALL], 10).complete is None
    assert store.select([Filter(limit=1), Filter(limit=1)], 10).complete is False
    assert store.select([Filter(limit=1), Filter(kinds=frozenset({7}))], 10).complete is False


def test_head_of_a_selection(store: EventStore) -> None:
    store.add([unsigned(content=str(n)) for n in range(3)])
    assert store.select(ALL, 10).head_seq == 3


@pytest.mark.parametrize("size", [1, 20_000, 10_000_000])
def test_an_answer_is_a_selection_with_its_first_events(store: EventStore, size: int) -> None:
    store.add([unsigned(content=f"{n:0200}", created_at=NOW + n % 50) for n in range(400)])
    for filters in ([Filter(limit=399)], [Filter(until=NOW + 9), Filter(since=NOW + 20, limit=150)]):
        selection = store.select(filters, 500)
        answer = store.answer(filters, 500, size)
        assert answer.raws + store.fetch(answer.rest) == store.fetch(selection.keys)
        assert answer[2:] == selection[1:]
        assert bool(answer.rest) == (size < 10_000_000)
        assert sum(map(len, answer.raws)) < 1.25 * size + 100_000
    assert store.answer([Filter(limit=1)], 0, size) == ([], [], 400, False)


def test_a_rest_that_is_small_comes_along(store: EventStore) -> None:
    store.add([unsigned(content=f"{n:0200}", created_at=NOW + n) for n in range(200)])
    size = sum(map(len, store.query(ALL, 200)))
    assert store.answer(ALL, 200, size * 9 // 10).rest == []
    assert store.answer(ALL, 200, size * 7 // 10).rest != []


def test_ids_pass_the_gates_too(store: EventStore) -> None:
    note = unsigned()
    like = unsigned(kind=7)
    wrap = unsigned(kind=1059, tags=(("p", fake_npub("bob")),))
    store.add([note, like, wrap])
    every = frozenset({note.id, like.id, wrap.id})
    bob, nobody = frozenset({fake_npub("bob")}), frozenset[str]()
    assert set(held(store, Filter(ids=every, addressed=bob))) == every
    assert set(held(store, Filter(ids=every, addressed=nobody))) == {note.id, like.id}
    assert held(store, Filter(ids=every, addressed=nobody, kinds=frozenset({7, 1059}))) == [like.id]
    assert set(held(store, Filter(ids=every, hidden=frozenset({7})))) == {note.id, wrap.id}
    assert held(store, Filter(ids=frozenset({"00" * 32}), addressed=nobody)) == []


def test_fetch_keeps_order_and_leaves_out_what_is_gone(store: EventStore) -> None:
    events = [unsigned(content=str(n), created_at=NOW + n) for n in range(3)]
    store.add(events)
    keys = store.select(ALL, 10).keys
    store.add([deletion(("e", events[1].id))])
    assert ids(store.fetch(keys)) == [events[2].id, events[0].id]
    assert ids(store.fetch(keys[::-1])) == [events[0].id, events[2].id]
    assert store.fetch([]) == []


# --- filters ---------------------------------------------------------------------------------------


def test_each_condition_selects(store: EventStore) -> None:
    hex_id = "ab" * 32
    tagged = unsigned("bob", kind=7, tags=(("t", "x"), ("e", hex_id)), created_at=NOW + 5)
    plain = unsigned()
    store.add([tagged, plain])
    for wanted in (
        Filter(ids=frozenset({tagged.id, "00" * 32})),
        Filter(authors=frozenset({fake_npub("bob"), fake_npub("nobody")})),
        Filter(kinds=frozenset({7, 9})),
        Filter(tags=(("t", frozenset({"x", "y"})),)),
        Filter(tags=(("t", frozenset({"x"})), ("e", frozenset({hex_id})))),
        Filter(tags=(("t", frozenset({"x"})),), authors=frozenset({fake_npub("bob")}), kinds=frozenset({7})),
        Filter(since=NOW + 5),
        Filter(since=NOW + 5, until=NOW + 5),
        Filter(authors=frozenset({fake_npub("bob")}), kinds=frozenset({7, 1})),
        Filter(hidden=frozenset({1})),
    ):
        assert held(store, wanted) == [tagged.id], wanted
    for wanted in (
        Filter(until=NOW + 4),
        Filter(authors=frozenset({fake_npub("alice")})),
        Filter(kinds=frozenset({1})),
        Filter(kinds=frozenset({1, 7}), hidden=frozenset({7})),
    ):
        assert held(store, wanted) == [plain.id], wanted
    for wanted in (
        Filter(ids=frozenset()),
        Filter(authors=frozenset()),
        Filter(kinds=frozenset()),
        Filter(tags=(("t", frozenset()),)),
        Filter(tags=(("T", frozenset({"x"})),)),
        Filter(tags=(("t", frozenset({"x"})), ("e", frozenset({"cd" * 32})))),
        Filter(tags=(("t", frozenset({"x"})),), authors=frozenset({fake_npub("alice")})),
        Filter(tags=(("t", frozenset({"x"})),), authors=frozenset({fake_npub("nobody")})),
        Filter(ids=frozenset({tagged.id}), kinds=frozenset({1})),
        Filter(ids=frozenset({tagged.id}), until=NOW),
        Filter(authors=frozenset({fake_npub("nobody")})),
        Filter(kinds=frozenset({7}), hidden=frozenset({7})),
        Filter(since=NOW + 6),
        Filter(since=1 << 70),
        Filter(until=-(1 << 70)),
    ):
        assert held(store, wanted) == [], wanted
    assert len(held(store, Filter(since=-(1 << 70), until=1 << 70))) == 2


def test_many_values_select_like_few(store: EventStore) -> None:
    """Beyond a number of places in the index another way is taken."""
    events = [
        unsigned(f"author {n}", kind=n, tags=(("t", str(n)),), created_at=NOW + n)
        for n in (*range(1, 3), *range(100, 200))
    ]
    store.add(events)
    newest = [event.id for event in events[: -(7 + 1) : -1]]
    many = frozenset(event.pubkey for event in events)
    assert held(store, Filter(authors=many, limit=7)) == newest
    assert held(store, Filter(authors=many, kinds=frozenset({1, 2, 150}), limit=7)) == [
        events[52].id,
        events[1].id,
        events[0].id,
    ]
    assert held(store, Filter(kinds=frozenset(range(300)), limit=7)) == newest
    assert held(store, Filter(tags=(("t", frozenset(map(str, range(300)))),), limit=7)) == newest
    assert held(store, Filter(ids=frozenset(e.id for e in events), limit=7)) == newest
    assert held(store, Filter(authors=many, hidden=frozenset({199}), limit=6)) == newest[1:]


def test_an_author_of_many_kinds(store: EventStore) -> None:
    events = [unsigned(kind=100 + n, created_at=NOW + n) for n in range(60)]
    store.add([*events, unsigned("bob", created_at=NOW + 99)])
    found = held(store, Filter(authors=frozenset({fake_npub("alice")}), limit=3))
    assert found == [event.id for event in events[: -(3 + 1) : -1]]


# --- whom wrapped messages are for ------------------------------------------------------------------


def test_wrapped_messages_are_found_by_whom_they_are_for(store: EventStore) -> None:
    bob, carol = fake_npub("bob"), fake_npub("carol")
    wraps = [
        unsigned(f"random {n}", kind=1059, tags=(("p", to), ("t", "x")), created_at=NOW + n)
        for n, to in enumerate((bob, carol, bob))
    ]
    second = unsigned("random", kind=1059, tags=(("p", carol, bob), ("x", bob)), created_at=NOW + 8)
    note = unsigned(tags=(("p", carol), ("t", "x")), created_at=NOW + 9)
    store.add([*wraps, second, note])
    everything = [note.id, wraps[2].id, wraps[0].id]
    to_bob = frozenset({bob})
    for wanted, expected in (
        (Filter(), everything),
        (Filter(limit=2), everything[:2]),
        (Filter(ids=frozenset(event.id for event in (*wraps, second, note))), everything),
        (Filter(kinds=frozenset({1, 1059})), everything),
        (Filter(kinds=frozenset({1059})), everything[1:]),
        (Filter(kinds=frozenset({1})), everything[:1]),
        (Filter(tags=(("t", frozenset({"x"})),)), everything),
        (Filter(tags=(("p", frozenset({carol})),)), everything[:1]),
        (Filter(authors=frozenset({wraps[0].pubkey, wraps[1].pubkey})), everything[2:]),
        (Filter(hidden=frozenset({1})), everything[1:]),
        (Filter(search="hello"), everything[:1]),
    ):
        asked = replace(wanted, addressed=to_bob)
        assert held(store, asked) == expected, wanted
        if wanted.limit is None:
            assert len(store.items(asked, 9)) == len(store.scan([asked], None, 9).raws) == len(expected)
    assert held(store, Filter(addressed=frozenset())) == [note.id]
    assert held(store, Filter(addressed=frozenset({bob, carol}))) == [
        note.id,
        second.id,
        *(wrap.id for wrap in wraps[::-1]),
    ]


# --- replaceable and addressable -------------------------------------------------------------------


@pytest.mark.parametrize("kind", [0, 3, 10000, 19999])
def test_a_newer_version_replaces(store: EventStore, kind: int) -> None:
    old = unsigned(kind=kind, content="old")
    new = unsigned(kind=kind, content="new", created_at=NOW + 1, tags=(("d", "is ignored"),))
    assert codes(store, old) == [STORED]
    assert codes(store, new, old) == [STORED, SUPERSEDED]
    assert held(store) == [new.id]
    assert store.get([old.id]) == []
    assert store.count() == 1


@pytest.mark.parametrize("kind", [1, 2, 4, 44, 1000, 9999, 40000, 65535])
def test_regular_events_do_not_replace(store: EventStore, kind: int) -> None:
    store.add([unsigned(kind=kind, content="1"), unsigned(kind=kind, content="2", created_at=NOW + 1)])
    assert store.count() == 2


def test_of_two_versions_with_one_time_the_lowest_id_stays(store: EventStore) -> None:
    low, high = sorted((unsigned(kind=0, content=str(n)) for n in range(2)), key=lambda e: e.id)
    assert codes(store, high) == [STORED]
    assert codes(store, low) == [STORED]
    assert codes(store, high) == [SUPERSEDED]
    assert held(store) == [low.id]


def test_versions_are_per_author_and_kind(store: EventStore) -> None:
    events = [unsigned(author, kind=kind) for author in ("alice", "bob") for kind in (0, 10002)]
    store.add(events)
    assert store.count() == 4


@pytest.mark.parametrize("kind", [30000, 39999])
def test_addressable_events_are_told_apart_by_d(store: EventStore, kind: int) -> None:
    one = unsigned(kind=kind, tags=(("d", "one"), ("d", "ignored")))
    two = unsigned(kind=kind, tags=(("d", "two"),))
    newer = unsigned(kind=kind, tags=(("d", "one"),), created_at=NOW + 1)
    store.add([one, two, newer])
    assert set(held(store)) == {two.id, newer.id}


def test_a_missing_d_is_an_empty_one(store: EventStore) -> None:
    store.add([unsigned(kind=30000, tags=tags) for tags in ((), (("d",),), (("d", ""),))])
    assert store.count() == 1


def test_replaced_events_leave_no_tags_behind(store: EventStore) -> None:
    old = unsigned(kind=0, tags=(("t", "x"),))
    new = unsigned(kind=0, created_at=NOW + 1)
    store.add([old, new])
    assert held(store, Filter(tags=(("t", frozenset({"x"})),))) == []


# --- the feed --------------------------------------------------------------------------------------


def test_the_feed_follows_arrival(store: EventStore) -> None:
    events = [unsigned(kind=n + 1, content=str(n), created_at=NOW - n) for n in range(4)]
    seqs = [written.seq for written in store.write([as_entry(e) for e in events])]
    assert seqs == sorted(seqs)
    assert seqs[0] > 0
    rows = store.feed(0, 10)
    assert [(row.seq, row.id, row.kind, row.raw) for row in rows] == [
        (seq, e.id, e.kind, raw(e)) for seq, e in zip(seqs, events, strict=True)
    ]
    assert [row.seq for row in store.feed(seqs[1], 1)] == [seqs[2]]
    assert store.feed(seqs[3], 10) == []
    assert store.head_seq == seqs[3]


def test_refused_and_known_events_have_no_place_in_the_feed(store: EventStore) -> None:
    event = unsigned()
    written = store.write([as_entry(event), as_entry(event), as_entry(unsigned(kind=20000))])
    assert [w.seq for w in written] == [1, 0, 0]


def test_the_feed_skips_what_is_gone_and_keeps_deletions(store: EventStore) -> None:
    note, profile = unsigned(), unsigned(kind=0)
    newer = unsigned(kind=0, created_at=NOW + 1)
    gone = deletion(("e", note.id))
    store.add([note, profile, newer, gone])
    assert [(row.seq, row.id) for row in store.feed(0, 10)] == [(3, newer.id), (4, gone.id)]


def test_a_seq_is_never_used_twice(store: EventStore) -> None:
    first, second = unsigned(kind=0), unsigned(kind=0, created_at=NOW + 1)
    assert [w.seq for w in store.write([as_entry(first)])] == [1]
    assert [w.seq for w in store.write([as_entry(second)])] == [2]
    store.add([deletion(("a", f"0:{first.pubkey}:"), at=NOW + 2)])
    assert store.head_seq == 3
    assert [w.seq for w in store.write([as_entry(unsigned())])] == [4]
