"""What came over a link too early: neither stored nor passed on, and not lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.core.event import encode_event
from meshconsole.core.kinds import TEAM_NOTE
from meshconsole.core.sections import PrivacySection
from meshconsole.mesh.surroundings import via_name
from meshconsole.mesh.taking import STORE_BYTES
from meshconsole.node.access import TeamAccess
from meshconsole.node.aside import Aside
from meshconsole.relay.relay import RefusedEvent, Relay, Stored
from tests.relay.making import Clock
from tests.relay.memory import MemoryEventStore
from tests.team.devices import NOW, Device, founder, join

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from meshconsole.core.event import Event


class Node:
    """The relay of `device`, its roster, and what it keeps aside, joined as in a node."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.stored: list[tuple[str, str]] = []
        access = TeamAccess(PrivacySection, lambda: device.team, device.npub)
        store = MemoryEventStore(Clock())
        self.relay = Relay(store, access=access, emit=self.happened, by_role=access.by_role)
        self.aside = Aside(self.relay, access.by_role)

    def happened(self, happening: Stored | RefusedEvent) -> None:
        if isinstance(happening, RefusedEvent):
            self.aside.keep(happening)
        else:
            self.stored.append((happening.event.id, happening.via))
            self.device.team.accept(happening.event)

    async def link(self, *events: Event) -> list[str]:
        verdicts = await self.relay.publish_many(events, via=LINK, trusted=True)
        return [verdict.code for verdict in verdicts]


LINK = via_name("ab" * 32)


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    alpha = founder()
    charlie = join(alpha, "charlie")
    node = Node(charlie)
    node.alpha = alpha  # type: ignore[attr-defined]
    await node.relay.start()
    yield node
    await node.relay.stop()


@pytest.fixture
def alpha(node: Node) -> Device:
    return node.alpha  # type: ignore[attr-defined,no-any-return]


def promoted(alpha: Device) -> tuple[Device, list[Event], Event]:
    """An observer, the events that make it a member, and a note that it wrote at once."""
    bravo = join(alpha, "bravo", "observer")
    first = list(alpha.log.values())
    made = alpha.say(alpha.team.set_role(bravo.npub, "member", NOW))
    bravo.hear(alpha)
    return bravo, [*first, *made], bravo.team.seal_note("promoted", NOW)


async def test_what_an_observer_writes_is_neither_stored_nor_told(node: Node, alpha: Device) -> None:
    bravo = join(alpha, "bravo", "observer")
    await node.link(*alpha.log.values())
    before = list(node.stored)
    kid = node.device.team._roster.epochs_to_write()[0][0].kid
    junk = bravo.me.sign(TEAM_NOTE, (("h", "00"), ("k", kid)), "junk", NOW)
    assert await node.link(junk) == ["auth-required"]
    await node.aside.offer_again()
    assert node.stored == before
    assert len(node.aside) == 1


async def test_a_note_that_comes_before_its_authors_promotion_is_taken_after_it(
    node: Node, alpha: Device
) -> None:
    _, roster, note = promoted(alpha)
    assert await node.link(note) == ["auth-required"]
    await node.link(*roster)
    await node.aside.offer_again()
    assert node.stored[-1] == (note.id, LINK), "as come over the link that brought it"
    assert len(node.aside) == 0
    assert node.device.team.open_note(note).text == "promoted"


async def test_note_and_promotion_in_one_batch(node: Node, alpha: Device) -> None:
    _, roster, note = promoted(alpha)
    await node.link(note, *roster)
    await node.aside.offer_again()
    assert node.stored[-1] == (note.id, LINK)


async def test_entry_and_bundles_in_one_batch_make_a_team_of_it(node: Node, alpha: Device) -> None:
    """New admins' entries are judged before the entry that makes them admins is stored."""
    bravo = join(alpha, "bravo", "admin")
    delta = join(bravo, "delta", "admin")
    echo = join(delta, "echo")
    await node.link(*reversed(echo.log.values()))
    for _ in range(3):
        await node.aside.offer_again()
    assert node.device.team.role_of(echo.npub) == "member"
    assert {event.id for event in echo.log.values()} <= {event_id for event_id, _ in node.stored}


async def test_the_nodes_own_and_what_its_owner_imports_is_not_judged(node: Node, alpha: Device) -> None:
    _, _, note = promoted(alpha)
    assert [v.code for v in await node.relay.publish_many([note], via="import", own=True)] == [""]


async def test_many_notes_and_promotion_in_one_batch(node: Node, alpha: Device) -> None:
    """As much as a link brings at once (`taking.STORE_BYTES`, and the batch that goes beyond it)."""
    bravo, roster, _ = promoted(alpha)
    notes = [bravo.team.seal_note(f"{number}", NOW) for number in range(310)]
    assert sum(len(encode_event(note)) for note in notes) > 2 * STORE_BYTES
    await node.link(*roster, *notes)
    await node.aside.offer_again()
    assert {note.id for note in notes} <= {event_id for event_id, _ in node.stored}


async def test_one_author_does_not_push_out_the_others(
    node: Node, alpha: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshconsole.node.aside.MAX_HELD_BY_AUTHOR", 8)
    _, roster, note = promoted(alpha)
    loud = join(alpha, "loud", "relay")
    await node.link(note)
    for number in range(13):
        await node.link(loud.me.sign(TEAM_NOTE, (("k", ""),), str(number), NOW))
    assert len(node.aside) == 1 + 8
    await node.link(*roster)
    await node.aside.offer_again()
    assert note.id in {event_id for event_id, _ in node.stored}


async def test_what_was_kept_is_bounded(node: Node, alpha: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshconsole.node.aside.MAX_HELD_BYTES", 3000)
    loud = join(alpha, "loud", "relay")
    for number in range(8):
        await node.link(loud.me.sign(TEAM_NOTE, (("k", ""),), f"{number:0900}", NOW))
    assert len(node.aside) == 2
