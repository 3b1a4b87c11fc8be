"""NIP-01 filters, with the search of NIP-50: which events match. Pure.

Strict on purpose: a field that is not understood must not be skipped, because a filter that
matches more than was asked for floods a slow link.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import Refused
from meshconsole.core.kinds import GATED_KINDS
from meshconsole.relay.event import MAX_KIND, indexed_tags, is_hex
from meshconsole.relay.searching import fits

if TYPE_CHECKING:
    from collections.abc import Collection

    from meshconsole.core.event import Event


MAX_SEARCH_CHARACTERS = 512


class Filter(msgspec.Struct, frozen=True):
    """None means "any". An empty set matches nothing (NIP-01). Times are inclusive, in seconds.

    `tags` pairs a letter with the accepted values. `search` is the client's text (NIP-50), "" for
    none. `hidden` are kinds that never match; of GATED_KINDS only events match that have a `p` tag
    whose first value is in `addressed`, whoever that is if it is None. Policies put these two there,
    clients cannot.
    """

    ids: frozenset[str] | None = None
    authors: frozenset[str] | None = None
    kinds: frozenset[int] | None = None
    tags: tuple[tuple[str, frozenset[str]], ...] = ()
    since: int | None = None
    until: int | None = None
    limit: int | None = None
    search: str = ""
    hidden: frozenset[int] = frozenset()
    addressed: frozenset[str] | None = None

    @property
    def impossible(self) -> bool:
        """Can match no event at all: an empty list, an empty span of time, nothing but hidden kinds, a search
        for signs."""
        if self.search and self.is_wordless:
            return True
        lists = (self.ids, self.authors, self.kinds, *(values for _, values in self.tags))
        if any(values is not None and not values for values in lists):
            return True
        unseen = self.hidden if self.addressed is None or self.addressed else self.hidden | GATED_KINDS
        if self.kinds is not None and self.kinds <= unseen:
            return True
        return self.since is not None and self.until is not None and self.since > self.until

    @property
    def is_wordless(self) -> bool:
        """Something is looked for that no index knows: signs alone. Extensions alone leave nothing out."""
        words = self.search.split()
        return not self.terms and any(_extension(word.casefold()) is None for word in words)

    @property
    def size(self) -> int:
        """How many values it lists: what it costs to keep it alive."""
        lists = (self.ids, self.authors, self.kinds, *(values for _, values in self.tags))
        return sum(len(values) for values in lists if values is not None)

    @property
    def terms(self) -> tuple[str, ...]:
        """The words of `search` that are looked for; `searching.py` says what they find.

        Extensions (`key:value`, NIP-50) are none of them, nor is what has no letter or digit.
        """
        return tuple(
            word
            for word in self.search.casefold().split()
            if _extension(word) is None and any(map(str.isalnum, word))
        )


def matches(wanted: Filter, event: Event, present: Collection[tuple[str, str]] | None = None) -> bool:
    """Ignores `limit`, which counts stored events only (NIP-01).

    `present` are the event's indexed tags, for callers that try one event on many filters.
    """
    if wanted.ids is not None and event.id not in wanted.ids:
        return False
    if wanted.kinds is not None and event.kind not in wanted.kinds:
        return False
    if event.kind in wanted.hidden:
        return False
    if wanted.authors is not None and event.pubkey not in wanted.authors:
        return False
    if wanted.since is not None and event.created_at < wanted.since:
        return False
    if wanted.until is not None and event.created_at > wanted.until:
        return False
    if wanted.search:
        terms = wanted.terms
        if not (fits(event.kind, event.content, terms) if terms else not wanted.is_wordless):
            return False
    gated = wanted.addressed is not None and event.kind in GATED_KINDS
    if not wanted.tags and not gated:
        return True
    if present is None:
        present = indexed_tags(event)
    if gated and not any(("p", key) in present for key in wanted.addressed or ()):
        return False
    return all(any((letter, value) in present for value in values) for letter, values in wanted.tags)


def parse_filter(fields: object) -> Filter:
    """A filter from decoded JSON. Raises Refused("invalid" or "unsupported") with the field's name."""
    if not isinstance(fields, dict):
        raise Refused("invalid", "a filter must be a JSON object")
    known: dict[str, frozenset[str] | frozenset[int] | int | str] = {}
    tags: list[tuple[str, frozenset[str]]] = []
    for name, value in fields.items():
        if name in ("ids", "authors"):
            known[name] = _texts(name, value, hexadecimal=True)
        elif name == "kinds":
            known[name] = _kinds(value)
        elif name in ("since", "until", "limit"):
            known[name] = _integer(name, value)
        elif name == "search":
            known[name] = _search(value)
        elif len(name) == 2 and name[0] == "#" and name[1].isascii() and name[1].isalpha():
            tags.append((name[1], _texts(name, value, hexadecimal=name in ("#e", "#p"))))
        else:
            raise Refused("unsupported", f"filters here have no such field: {_shown(name)}")
    return msgspec.convert({**known, "tags": tuple(tags)}, Filter)


def encode_filter(wanted: Filter) -> bytes:
    """The JSON object, for tests and for asking other relays. What policies put in stays here."""
    fields: dict[str, object] = {}
    for name in ("ids", "authors", "kinds"):
        values = getattr(wanted, name)
        if values is not None:
            fields[name] = sorted(values)
    fields.update({f"#{letter}": sorted(values) for letter, values in wanted.tags})
    for name in ("since", "until", "limit"):
        number = getattr(wanted, name)
        if number is not None:
            fields[name] = number
    if wanted.search:
        fields["search"] = wanted.search
    return msgspec.json.encode(fields)


def _texts(name: str, value: object, *, hexadecimal: bool) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Refused("invalid", f"{name} must be a list of strings")
    if hexadecimal and not all(is_hex(item, 64) for item in value):
        raise Refused("invalid", f"{name} must hold 64 lowercase hex characters each")
    return frozenset(value)


def _kinds(value: object) -> frozenset[int]:
    if not isinstance(value, list) or not all(type(item) is int and 0 <= item <= MAX_KIND for item in value):
        raise Refused("invalid", f"kinds must be a list of integers between 0 and {MAX_KIND}")
    return frozenset(value)


def _integer(name: str, value: object) -> int:
    if type(value) is not int:
        raise Refused("invalid", f"{name} must be an integer")
    if name == "limit" and value < 0:
        raise Refused("invalid", "limit must not be negative")
    return value


def _search(value: object) -> str:
    if not isinstance(value, str):
        raise Refused("invalid", "search must be a string")
    if len(value) > MAX_SEARCH_CHARACTERS:
        raise Refused("invalid", f"search must have at most {MAX_SEARCH_CHARACTERS} characters")
    return value.strip()


_extension = re.compile(r"[a-z][a-z0-9_-]*:[^/:]").match
"""Not "https://..." nor "std::move": those are looked for."""


def _shown(name: str) -> str:
    return msgspec.json.encode(name[:32]).decode()
