"""Which events may make room when the store is full: the owner's rules as classes. Pure.

A rule is a line of conditions that all must hold: `strangers` or `team` (by author), `kinds=1,7`,
`older=30d`. Rules are tried in order; of each, the oldest events go first. What no rule covers stays,
and so does what makes a team, whatever the rules say. Requests to delete and to vanish (NIP-09, NIP-62) go
last, after everything that all the rules cover: peers learn from them what must not come back.

Authors of gift wraps are random keys (NIP-59): they are nobody's strangers, and go only where a rule
names their kind.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from meshconsole.core.errors import Fatal
from meshconsole.core.kinds import DELETION, FILE_MANIFEST, GATED_KINDS, HOLDINGS, MEMBERSHIP_KINDS, VANISH
from meshconsole.relay.filter import Filter
from meshconsole.relay.store import EvictionClass

if TYPE_CHECKING:
    from collections.abc import Sequence

DAY_S = 86_400
KEPT_KINDS = MEMBERSHIP_KINDS | {FILE_MANIFEST, HOLDINGS}
"""They go only where a rule names their kind: without them files and members are not understood."""

LAST_KINDS = frozenset({DELETION, VANISH})
"""They go where a rule names their kind, and otherwise when nothing else is left."""

_CONDITION = re.compile(r"(strangers|team)|kinds=([0-9]{1,5}(?:,[0-9]{1,5})*)|older=([0-9]{1,5})d").fullmatch


def eviction_classes(rules: Sequence[str], team: frozenset[str], now: int) -> list[EvictionClass]:
    """`team` are the public keys that belong. Raises Fatal for a rule that cannot be read."""
    classes = [_class(rule, team, now) for rule in rules]
    return [*map(_without_requests, classes), *(_requests(each) for each in classes if _is_general(each))]


def _is_general(each: EvictionClass) -> bool:
    return each.wanted.kinds is None


def _without_requests(each: EvictionClass) -> EvictionClass:
    if not _is_general(each):
        return each
    return replace(each, wanted=replace(each.wanted, hidden=each.wanted.hidden | LAST_KINDS))


def _requests(each: EvictionClass) -> EvictionClass:
    return replace(
        each, name=f"{each.name}, requests to delete", wanted=replace(each.wanted, kinds=LAST_KINDS)
    )


def _class(rule: str, team: frozenset[str], now: int) -> EvictionClass:
    authors: frozenset[str] | None = None
    spared: frozenset[str] = frozenset()
    kinds: frozenset[int] | None = None
    until: int | None = None
    for condition in rule.split():
        found = _CONDITION(condition)
        if found is None:
            raise Fatal(
                f"'{condition}' in relay.evict is no condition.",
                hint="Conditions are strangers, team, kinds=1,7 and older=30d.",
            )
        whose, numbers, days = found.groups()
        if whose == "team":
            authors = team
        elif whose == "strangers":
            spared = team
        elif numbers:
            kinds = frozenset(map(int, numbers.split(",")))
        else:
            until = now - int(days) * DAY_S
    hidden = frozenset() if kinds is not None else KEPT_KINDS | GATED_KINDS if spared else KEPT_KINDS
    wanted = Filter(authors=authors, kinds=kinds, until=until, hidden=hidden)
    return EvictionClass(rule, wanted, spared)
