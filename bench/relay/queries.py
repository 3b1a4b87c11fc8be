"""What is asked of a relay, and what it must answer. Pure.

The reference is an index of its own over the same events; no relay's word is taken for another's.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

TEXTS = (1, 30023)
"""Kinds that every search is expected to cover; whether it covers reposts is a relay's choice."""
_REFUSED = b'["CLOSED",'
_IDS = re.compile(rb'"id": ?"([0-9a-f]{64})"')


class Query(NamedTuple):
    name: str
    request: bytes
    """The filter, as JSON."""
    expected: tuple[str, ...]
    """Ids, newest first."""
    ordered: bool = True
    """Whether NIP-01 demands the order: it does where there is a limit, but a search is by relevance."""


class Held(msgspec.Struct, gc=False):
    """What of an event decides whether a query finds it."""

    id: str
    pubkey: str
    created_at: int
    kind: int
    tags: list[list[str]]
    content: str


class Reference:
    """Events newest first, and where each author, kind, tag and rare word is among them."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        decode = msgspec.json.Decoder(Held).decode
        self.events = sorted(map(decode, lines), key=lambda event: event.created_at, reverse=True)
        self.ids = [event.id for event in self.events]
        self.by: dict[tuple[str, object], list[int]] = defaultdict(list)
        for place, event in enumerate(self.events):
            self.by["author", event.pubkey].append(place)
            self.by["kind", event.kind].append(place)
            for tag in event.tags:
                if tag[0] in ("e", "p"):
                    self.by[tag[0], tag[1]].append(place)
            last = event.content.rpartition(" ")[2]
            if last.startswith("xq") and event.kind in TEXTS:
                self.by["word", last].append(place)
        self._of_sort: dict[str, list[object]] = defaultdict(list)
        for sort, value in self.by:
            self._of_sort[sort].append(value)

    def any_of(self, sort: str, chance: random.Random) -> object:
        values = self._of_sort[sort]
        return values[chance.randrange(len(values))]


def queries(reference: Reference, classes: Sequence[str], count: int, seed: int = 0) -> list[Query]:
    """`count` queries, the classes in the order given, over and over."""
    chance = random.Random(seed)
    return [CLASSES[classes[number % len(classes)]](reference, chance) for number in range(count)]


def _ids(reference: Reference, chance: random.Random) -> Query:
    places = sorted(chance.sample(range(len(reference.ids)), 10))
    wanted = [reference.ids[place] for place in places]
    shuffled = chance.sample(wanted, len(wanted))
    return _query("ids", {"ids": shuffled}, wanted, ordered=False)


def _author_kind(reference: Reference, chance: random.Random) -> Query:
    author = reference.any_of("author", chance)
    places = [place for place in reference.by["author", author] if reference.events[place].kind == 1]
    wanted = {"authors": [author], "kinds": [1], "limit": 20}
    return _query("author+kind", wanted, _named(reference, places[:20]))


def _authors(reference: Reference, chance: random.Random) -> Query:
    authors = {str(reference.any_of("author", chance)) for _ in range(10)}
    places = sorted(place for author in authors for place in reference.by["author", author])
    wanted = {"authors": sorted(authors), "limit": 100}
    return _query("10 authors", wanted, _named(reference, places[:100]))


def _replies(reference: Reference, chance: random.Random) -> Query:
    target = reference.any_of("e", chance)
    return _query("#e", {"#e": [target], "limit": 100}, _named(reference, reference.by["e", target][:100]))


def _mentions(reference: Reference, chance: random.Random) -> Query:
    author = reference.any_of("p", chance)
    return _query("#p, 50", {"#p": [author], "limit": 50}, _named(reference, reference.by["p", author][:50]))


def _window(reference: Reference, chance: random.Random) -> Query:
    size = min(500, len(reference.events))
    start = chance.randrange(len(reference.events) - size + 1)
    newest, oldest = reference.events[start], reference.events[start + size - 1]
    wanted: dict[str, object] = {"since": oldest.created_at, "until": newest.created_at, "limit": 500}
    return _query("window, 500", wanted, reference.ids[start : start + size])


def _kind(reference: Reference, chance: random.Random) -> Query:
    kind = chance.choice((6, 7))
    places = reference.by["kind", kind][:500]
    return _query("kind, 500", {"kinds": [kind], "limit": 500}, _named(reference, places))


def _search(reference: Reference, chance: random.Random) -> Query:
    word = reference.any_of("word", chance)
    places = reference.by["word", word]
    wanted: dict[str, object] = {"search": word, "kinds": list(TEXTS), "limit": 500}
    return _query("search", wanted, _named(reference, places), ordered=False)


CLASSES: dict[str, Callable[[Reference, random.Random], Query]] = {
    "ids": _ids,
    "author+kind": _author_kind,
    "10 authors": _authors,
    "#e": _replies,
    "#p, 50": _mentions,
    "window, 500": _window,
    "kind, 500": _kind,
    "search": _search,
}
PLAIN = tuple(name for name in CLASSES if name != "search")
MIX = (
    *("ids", "author+kind", "#e", "10 authors", "#p, 50"),
    *("ids", "author+kind", "#e", "window, 500"),
    *("ids", "author+kind", "#e", "10 authors", "#p, 50", "kind, 500"),
)
"""What clients ask most comes most often."""


def is_right(query: Query, reply: bytes) -> bool:
    """Whether the stored events in a reply, as it came over the wire, are those that are due.

    A refusal is not, even where nothing is due.
    """
    if _REFUSED in reply:
        return False
    found = [identifier.decode() for identifier in _IDS.findall(reply)]
    if query.ordered:
        return tuple(found) == query.expected
    return len(found) == len(query.expected) and set(found) == set(query.expected)


def _named(reference: Reference, places: Sequence[int]) -> list[str]:
    return [reference.ids[place] for place in places]


def _query(name: str, wanted: dict[str, object], expected: Sequence[str], *, ordered: bool = True) -> Query:
    return Query(name, msgspec.json.encode(wanted), tuple(expected), ordered)
