"""NIP-50: which kinds can be searched, and what a client's words mean to the index. Pure.

Indexed is what people write to be read. Sealed contents, gift wraps, lists and events that only point
at others have nothing to find in them; leaving them out also keeps a search from telling that they exist.

A search finds the events whose content has a word that begins with each of its words. Words are what
SQLite's tokenizer makes of a text: runs of letters and digits, in whatever case, without diacritics.
Those come first of whose text the words are the most, and of equals the newest.

The index numbers most events by their second, which leads straight to them: whatever has its second for
itself when it is indexed. Others have a number by their place in the log.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SEARCHABLE = frozenset(
    {
        *(0, 1, 9, 11, 20, 21, 22, 24, 40, 41, 42),  # profiles, notes, chats, threads, media, channels
        *(1063, 1068, 1111, 1222, 1244, 1311, 9802),  # files, polls, comments, voice, live chat, highlights
        *(1337, 1617, 1618, 1619, 1621, 1622),  # code snippets, patches, pull requests, issues, replies
        *(30017, 30018, 30023, 30040, 30041, 30054, 30055),  # stalls, products, articles, books, podcasts
        *(30311, 30315, 30402, 30617, 30818, 31922, 31923),  # live events, statuses, offers, wikis, dates
        *(34235, 34236, 34550),  # videos, communities
    }
)

MAX_WORDS = 16
"""More words than these hardly narrow a search any further."""

PREFIX_CHARACTERS = 3
"""Shorter words are looked for as they are: too many others begin with them."""

LENGTH_BITS = 3
"""The numbers of the index's rows tell in these last bits how long the text is: the shorter the text, the
more of it are the words that it is found by."""

BY_SEQ = 1 << 40
"""Rows from this number on are numbered by place in the log, those below by second."""

_SHORTEST = 5
"""Texts with fewer binary digits in their length are not told apart."""

_words = re.compile(r"[^\W_]+").findall


def search_words(terms: Sequence[str]) -> list[str]:
    """The words to look for, in the order given, each once."""
    return list(dict.fromkeys(word for term in terms for word in _words(term)))[:MAX_WORDS]


def fits(kind: int, content: str, terms: Sequence[str]) -> bool:
    """Whether a search finds this event: for live events, which no index has seen yet."""
    if kind not in SEARCHABLE:
        return False
    held = set(_words(_plain(content)))
    return all(
        word in held or (len(word) >= PREFIX_CHARACTERS and any(other.startswith(word) for other in held))
        for word in map(_plain, search_words(terms))
    )


def row_by_second(second: int, content: str) -> int:
    """Where the index has an event whose second held no other event when it was indexed: so whatever else
    may come into that second, it is the first in the log of those that are left there."""
    return second << LENGTH_BITS | _length(content)


def row_by_seq(seq: int, content: str) -> int:
    """Where it has any other, by place in the log."""
    return BY_SEQ + (seq << LENGTH_BITS | _length(content))


def length_of(row: int) -> int:
    return row & ((1 << LENGTH_BITS) - 1)


def second_of(row: int) -> int:
    return row >> LENGTH_BITS


def _length(content: str) -> int:
    length = max(0, len(content).bit_length() - _SHORTEST)
    return min(length, (1 << LENGTH_BITS) - 1)


def _plain(text: str) -> str:
    """Without case and diacritics."""
    decomposed = unicodedata.normalize("NFD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def match_expression(terms: Sequence[str]) -> str:
    """An FTS5 query that holds nothing but quoted words. "" when there is no word."""
    words = search_words(terms)
    return " ".join(f'"{word}" *' if len(word) >= PREFIX_CHARACTERS else f'"{word}"' for word in words)
