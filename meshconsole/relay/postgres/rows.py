"""What an event is in PostgreSQL's tables, and how values are written in statements. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from meshconsole.relay.event import address, indexed_tags
from meshconsole.relay.retention import is_versioned
from meshconsole.relay.searching import PREFIX_CHARACTERS, SEARCHABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from meshconsole.core.event import Event
    from meshconsole.relay.keys import KeyedHash
    from meshconsole.relay.store import Entry

MAX_WORD = 500
"""Characters of a word that are looked at; PostgreSQL takes 2046 bytes."""

MAX_SEARCHED = 200_000
"""Characters of a content that can be found; PostgreSQL takes a megabyte of words."""

_is_ciphertext = re.compile(r"[A-Za-z0-9+/_-]{128,}={0,2}(\?iv=[A-Za-z0-9+/=]+)?").fullmatch
"""Base64 (NIP-44, NIP-04, sealed notes) has no words, and would be most of the index."""

_words = re.compile(r"\w+").finditer


class Row(NamedTuple):
    """An event that is to be inserted."""

    key: int
    id: str
    author: int
    kind: int
    seq: int
    place: int | None
    expires: int | None
    tags: tuple[int, ...]
    raw: bytes
    words: str | None


class Held(NamedTuple):
    """An event that is in the tables or about to be, as far as others may depend on it."""

    key: int
    id: str
    author: int
    kind: int
    place: int | None
    tags: tuple[int, ...]


def make_row(entry: Entry, hashes: KeyedHash, *, key: int, seq: int, expires: int | None) -> Row:
    event = entry.event
    return Row(
        key,
        event.id,
        author_hash(hashes, event.pubkey),
        event.kind,
        seq,
        place_of(hashes, event),
        expires,
        tuple(hashes.tag(letter, value) for letter, value in indexed_tags(event)),
        entry.raw,
        vector(event),
    )


def author_hash(hashes: KeyedHash, pubkey: str) -> int:
    return hashes.tag("author", pubkey)  # no letter: it meets no tag's hash


def place_of(hashes: KeyedHash, event: Event) -> int | None:
    return hashes.address(address(event)) if is_versioned(event.kind) else None


def vector(event: Event) -> str | None:
    """The words of the content and where they stand, as a `tsvector` is written. None when it has none,
    or when the kind is not searched."""
    if event.kind not in SEARCHABLE or _is_ciphertext(event.content):
        return None
    places: dict[str, list[str]] = {}
    for number, word in enumerate(words(event.content[:MAX_SEARCHED]), 1):
        places.setdefault(word, []).append(str(number))
    return " ".join(f"{word}:{','.join(at[:255])}" for word, at in places.items()) or None


def words(text: str) -> Iterator[str]:
    """Case does not matter. Only letters, digits and _: nothing that means anything to PostgreSQL."""
    return (found[0][:MAX_WORD] for found in _words(text.casefold()))


def question(terms: Iterable[str]) -> str:
    """A `tsquery`: all the terms, each as the phrase of its words, which may go on."""
    phrases = (" <-> ".join(map(_beginning, words(term))) for term in terms)
    return " & ".join(f"({phrase})" for phrase in phrases if phrase)


def _beginning(word: str) -> str:
    return f"'{word}':*" if len(word) >= PREFIX_CHARACTERS else f"'{word}'"


def numbers(values: Iterable[int | None]) -> str:
    """An array of integers as PostgreSQL writes it."""
    return "{" + ",".join(["null" if value is None else str(value) for value in values]) + "}"


def names(ids: Iterable[str]) -> str:
    """An array of ids (hexadecimal) as `bytea[]`."""
    inside = '","\\\\x'.join(ids)
    return f'{{"\\\\x{inside}"}}' if inside else "{}"


def texts(values: Iterable[str | None]) -> str:
    """An array of texts without quotes and backslashes."""
    return "{" + ",".join(["null" if value is None else f'"{value}"' for value in values]) + "}"
