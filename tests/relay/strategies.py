"""Random events and filters from so small a world that they meet each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from meshconsole.core.kinds import VANISH
from meshconsole.relay.filter import Filter
from meshconsole.relay.store import Entry, as_entry
from tests.relay.making import NOW, fake_npub, unsigned

if TYPE_CHECKING:
    from meshconsole.core.event import Event

AUTHORS = ("alice", "bob", "carol")
KINDS = (0, 1, 7, 1059, 10002, 30023, 4201, 4202, 34202)
LETTERS = ("t", "T", "d", "p")
VALUES = ("", "x", "y", "a:b", fake_npub("alice"), fake_npub("bob"))

times = st.integers(NOW - 2, NOW + 3)
tags = st.lists(st.tuples(st.sampled_from(LETTERS), st.sampled_from(VALUES)), max_size=3).map(tuple)


@st.composite
def plain_events(draw: st.DrawFn) -> Event:
    more: list[tuple[str, ...]] = list(draw(tags))
    if draw(st.integers(0, 5)) == 0:
        more.append(("expiration", str(NOW + draw(st.integers(-1, 4)))))
    return unsigned(
        draw(st.sampled_from(AUTHORS)),
        draw(st.sampled_from(KINDS)),
        tuple(more),
        draw(st.sampled_from("ab")),
        draw(times),
    )


@st.composite
def histories(draw: st.DrawFn) -> list[list[Entry]]:
    """Batches of events, with deletions of some of them, and requests to vanish, before or after."""
    events = draw(st.lists(plain_events(), min_size=1, max_size=25))
    for _ in range(draw(st.integers(0, 4))):
        target = draw(st.sampled_from(events))
        place = f"{target.kind}:{target.pubkey}:" + (target.tag("d") or "")
        what = draw(st.sampled_from([("e", target.id), ("a", place)]))
        author = draw(st.sampled_from(AUTHORS))
        deletion = unsigned(author, 5, (what,), "", draw(times))
        events.insert(draw(st.integers(0, len(events))), deletion)
    if draw(st.booleans()):
        request = unsigned(draw(st.sampled_from(AUTHORS)), VANISH, (), "", draw(times))
        events.insert(draw(st.integers(0, len(events))), request)
    events += draw(st.lists(st.sampled_from(events), max_size=5))
    here = draw(st.booleans())
    entries = [as_entry(event)._replace(vanish=here and event.kind == VANISH) for event in events]
    size = draw(st.integers(1, 8))
    return [entries[start : start + size] for start in range(0, len(entries), size)]


def subset(values: tuple[object, ...]) -> st.SearchStrategy[frozenset[object]]:
    return st.frozensets(st.sampled_from(values), max_size=3)


@st.composite
def filters(draw: st.DrawFn) -> Filter:
    maybe = st.booleans()
    named = draw(st.lists(st.sampled_from(LETTERS), max_size=2, unique=True))
    return Filter(
        authors=frozenset(map(fake_npub, map(str, draw(subset(AUTHORS))))) if draw(maybe) else None,
        kinds=frozenset(int(str(kind)) for kind in draw(subset((*KINDS, 5)))) if draw(maybe) else None,
        tags=tuple((letter, frozenset(map(str, draw(subset(VALUES))))) for letter in named),
        since=draw(st.none() | times),
        until=draw(st.none() | times),
        limit=draw(st.none() | st.integers(0, 5)),
        hidden=frozenset({4202}) if draw(maybe) else frozenset(),
        search=draw(st.sampled_from(("", "", "", "a", "b language:en", "! ?"))),
        addressed=frozenset(map(fake_npub, map(str, draw(subset(AUTHORS))))) if draw(maybe) else None,
    )
