"""NIP-50 in every event store. Which of two events fits better is each store's own matter."""

from __future__ import annotations

import pytest

from meshconsole.relay.filter import Filter
from meshconsole.relay.store import EventStore, Tally, as_entry
from tests.relay.held import deletion, held
from tests.relay.making import NOW, Clock, fake_npub, unsigned


def search(store: EventStore, text: str, **more: object) -> set[str]:
    return set(held(store, Filter(search=text, **more)))  # type: ignore[arg-type]


def test_a_search_finds_words_in_the_content(store: EventStore) -> None:
    bridge = unsigned(content="The northern Bridge is closed.")
    both = unsigned(content="bridge and ferry", created_at=NOW + 1)
    other = unsigned(content="nothing", tags=(("t", "bridge"),))
    store.add([bridge, both, other])
    assert search(store, "bridge") == {bridge.id, both.id}
    assert search(store, "FERRY  bridge") == {both.id}
    assert search(store, "bridge language:en include:spam") == {bridge.id, both.id}
    assert search(store, "bridge", since=NOW + 1) == {both.id}
    assert search(store, "bridge", authors=frozenset({fake_npub("bob")})) == set()
    assert search(store, "bridge", ids=frozenset({bridge.id})) == {bridge.id}
    assert search(store, "airport") == set()
    assert store.tally([Filter(search="bridge")], 9) == Tally(2, complete=True)


def test_a_search_of_extensions_alone_leaves_nothing_out(store: EventStore) -> None:
    events = [unsigned(content=str(n)) for n in range(2)]
    store.add(events)
    assert search(store, "include:spam") == {event.id for event in events}


@pytest.mark.parametrize("text", ["!", "\u2026 --", "\U0001f642", "'\"", "_", "! include:spam"])
def test_a_search_for_signs_finds_nothing(store: EventStore, text: str) -> None:
    """No index knows them: whoever looks for a face is not given everything instead."""
    store.add([unsigned(content="well! \U0001f642"), unsigned(kind=7, content="!")])
    assert search(store, text) == set()
    assert store.tally([Filter(search=text)], 9) == Tally(0, complete=True)


@pytest.mark.parametrize(
    "text",
    ['"', "'", '" OR "', "a* NOT b", "NEAR(a b)", "content:x", "-", "(", "a AND", "{a b}: c", "\\", "^a"],
)
def test_a_search_is_only_text(store: EventStore, text: str) -> None:
    event = unsigned(content="unrelated")
    store.add([event])
    assert search(store, text) == ({event.id} if text == "content:x" else set())  # an extension (NIP-50)


@pytest.mark.parametrize("kind", [4, 6, 7, 13, 1059, 4202, 4203, 10002, 30000])
def test_sealed_contents_and_those_without_text_are_not_searched(store: EventStore, kind: int) -> None:
    event = unsigned(kind=kind, content="bridge")
    store.add([event])
    assert search(store, "bridge") == set()
    assert search(store, "bridge", ids=frozenset({event.id})) == set()


def test_a_word_is_found_by_its_beginning(store: EventStore) -> None:
    event = unsigned(content="Bridges: north-east")
    store.add([event])
    assert search(store, "bridge north") == search(store, "NORTH-east") == {event.id}
    assert search(store, "bridging") == set()


def test_what_is_gone_is_not_found(store: EventStore, clock: Clock) -> None:
    profile = unsigned(kind=0, content="sailor")
    newer = unsigned(kind=0, content="pilot", created_at=NOW + 1)
    deleted = unsigned(content="sailor")
    ending = unsigned(content="sailor", tags=(("expiration", str(NOW + 5)),))
    vanished, by_hand = unsigned("bob", content="sailor"), unsigned("carol", content="sailor")
    store.add([profile, deleted, ending, vanished, by_hand])
    assert len(search(store, "sailor")) == 5
    store.add([newer, deletion(("e", deleted.id))])
    store.write([as_entry(unsigned("bob", kind=62))._replace(vanish=True)])
    store.delete([Filter(ids=frozenset({by_hand.id}))], dry_run=False)
    assert search(store, "sailor") == {ending.id}
    clock.now = NOW + 5
    assert search(store, "sailor") == set()
    assert search(store, "pilot") == {newer.id}
