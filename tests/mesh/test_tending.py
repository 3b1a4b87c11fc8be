"""Which links a device of a large team lets go: of those who have others, and each once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from meshconsole.mesh.ladder import Ladder
from meshconsole.mesh.tending import NEEDED_S, Tending
from meshconsole.mesh.topology import KEPT_LINKS

if TYPE_CHECKING:
    from meshconsole.mesh.linking import Links
    from meshconsole.mesh.roster import Roster

DEVICES = [sha256(f"d{number}".encode()).hexdigest() for number in range(60)]


@dataclass
class Held:
    """A link that the peer has dialled."""

    links: Counter[str]
    npub: str
    best: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(dialled=False))

    def close(self, _reason: str) -> None:
        self.links.subtract([self.npub])


class Desk:
    """A device of sixty, to which all others have a link."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.links = Counter(DEVICES[1:])
        self.beyond: dict[str, frozenset[str]] = {}
        self.sessions: dict[str, Held] = {}
        members = [SimpleNamespace(npub=npub, role="member", removed=False) for npub in DEVICES]
        self.tending = Tending(
            DEVICES[0],
            lambda: cast("Roster", SimpleNamespace(members=lambda: members)),
            cast("Links", SimpleNamespace(sessions=self.sessions)),
            Ladder(Random(1)),
            self.beyond,
            gossips=True,
            now=lambda: self.now,
        )

    def let_go(self, looks: int = 100) -> set[str]:
        for _ in range(looks):
            self.sessions.clear()
            self.sessions.update({npub: Held(self.links, npub) for npub in +self.links})
            self.tending._choose()
            self.now += 1
        return set(DEVICES[1:]) - (+self.links).keys()


def test_a_device_far_away_is_worth_an_offer_if_the_mesh_wants_it_or_there_is_no_link_at_all() -> None:
    desk = Desk()
    desk.let_go(1)
    wants = set(filter(desk.tending.wants_afar, DEVICES[1:]))
    assert 4 <= len(wants) <= KEPT_LINKS
    desk.sessions.clear()
    assert all(map(desk.tending.wants_afar, DEVICES))


def test_who_has_not_said_that_there_are_others_is_kept() -> None:
    desk = Desk()
    assert desk.let_go() == set()
    desk.beyond.update({npub: frozenset(DEVICES[:2]) - {npub} for npub in DEVICES[1:]})
    assert desk.let_go() == set(), "one other, and this device itself"


def test_who_has_others_is_let_go_until_few_are_left() -> None:
    desk = Desk()
    desk.beyond.update({npub: frozenset(DEVICES[1:6]) for npub in DEVICES[1:]})
    desk.let_go()
    assert len(+desk.links) == 2 * KEPT_LINKS


def test_who_comes_back_is_kept() -> None:
    desk = Desk()
    desk.beyond.update({npub: frozenset(DEVICES[1:6]) for npub in DEVICES[1:]})
    gone = desk.let_go()
    for npub in gone:
        desk.links[npub] = 1
    assert not gone & desk.let_go()
    desk.now += NEEDED_S
    assert gone & desk.let_go()
