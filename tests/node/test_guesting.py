"""A node's guests: when it has any, and what it says of them."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from meshconsole.cli.reading import _guests_in_words
from meshconsole.control.guests import GuestLinkData, ListGuests, OpenGuestLink, RemoveGuest, SayToGuests
from meshconsole.core.config import Config, with_values
from meshconsole.core.errors import Refused
from meshconsole.core.status import GuestStatus
from meshconsole.core.verdict import ACCEPTED
from meshconsole.crypto.identity import Identity
from meshconsole.crypto.providers import default_provider
from meshconsole.crypto.suites import MC1
from meshconsole.mesh.guests.book import Admitted
from meshconsole.node.guesting import GUESTS, Guesting
from tests.mesh.link_pair import CountingMeter
from tests.relay.making import NOW

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from meshconsole.core.event import Event
    from meshconsole.core.verdict import Verdict


class SmallNode:
    """As much of a node as guests need."""

    def __init__(self) -> None:
        self.config = Config()
        self.kept: dict[str, Any] = {}
        self.acts: list[str] = []
        self.published: list[Event] = []
        self.relay = None
        self.identity = Identity(bytes([1]) * 32, MC1, default_provider())
        self.clock = SimpleNamespace(stamp=lambda: NOW, time=lambda: float(NOW))
        self.recent = SimpleNamespace(newest=lambda _limit: ())
        self.governor = SimpleNamespace(bandwidth=CountingMeter())
        self.door = SimpleNamespace(counts=[], admit=lambda _kind, _remote: ACCEPTED)
        self.control = SimpleNamespace(status_changed=lambda: None)
        self.state = SimpleNamespace(
            get=lambda name, _kind, default: self.kept.get(name, default), put=self.kept.__setitem__
        )

    def set(self, section: str, **values: object) -> None:
        self.config = with_values(self.config, {section: values})

    def record(self, act: str, **_detail: str) -> None:
        self.acts.append(act)

    async def publish(self, event: Event) -> Verdict:
        self.published.append(event)
        return ACCEPTED


@pytest.fixture
async def node() -> AsyncIterator[tuple[SmallNode, Guesting]]:
    small = SmallNode()
    guesting = Guesting(small)  # type: ignore[arg-type]
    yield small, guesting
    await guesting.stop()


async def test_nothing_is_open_before_the_owner_asks_for_a_link(node: tuple[SmallNode, Guesting]) -> None:
    small, guesting = node
    await guesting.start()
    assert (guesting.status(), guesting.connections, guesting.findings()) == ((), 0, ())
    reply = await guesting.handle(OpenGuestLink())
    assert isinstance(reply.data, GuestLinkData)
    (finding,) = guesting.findings()
    assert finding.outcome == "good"
    assert reply.data.url.partition("#")[0] in finding.text
    assert small.acts == ["guest-link"]


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("privacy", {"emcon": "receive-only"}),
        ("privacy", {"emcon": "dark"}),
        ("capabilities", {"webrtc_hub": False}),
        ("capabilities", {"nostr_relay": False}),
        ("relay", {"enable": False}),
    ],
)
async def test_what_the_owner_has_switched_off_holds_for_guests(
    section: str, values: dict[str, object], node: tuple[SmallNode, Guesting]
) -> None:
    small, guesting = node
    await guesting.handle(OpenGuestLink())
    assert guesting.may_come().accepted
    small.set(section, **values)
    assert not guesting.may_stay().accepted
    assert not guesting.may_come().accepted
    assert guesting.findings()[0].outcome == "note"
    with pytest.raises(Refused):
        await guesting.handle(OpenGuestLink())


async def test_guests_of_before_a_restart_find_the_page_where_its_port_is_fixed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    small = SmallNode()
    small.set("guests", port=port)
    small.kept[GUESTS] = (Admitted("a1" * 32, "Anna", 0.0, 4e9),)
    guesting = Guesting(small)  # type: ignore[arg-type]
    await guesting.start()
    assert f":{port}/" in guesting.findings()[0].text
    assert [guest.state for guest in guesting.status()] == ["away"]
    await guesting.handle(RemoveGuest("Anna"))
    assert small.kept[GUESTS] == ()
    reply = await guesting.handle(ListGuests())
    assert getattr(reply.data, "guests", None) == ()
    await guesting.stop()


async def test_what_is_said_to_guests_is_a_plain_note_of_their_room(node: tuple[SmallNode, Guesting]) -> None:
    small, guesting = node
    reply = await guesting.handle(SayToGuests("welcome"))
    (event,) = small.published
    assert "not sealed" in reply.verdict.sentence
    assert (event.kind, event.content, event.tag("h")) == (1, "welcome", "guests")
    with pytest.raises(Refused):
        await guesting.handle(SayToGuests("  "))


def test_guests_in_words() -> None:
    waiting = GuestStatus("a1" * 32, "Anna", "waiting", 0.0, code="048213")
    here, away = GuestStatus("b2" * 32, "Ben", "here", 0.0), GuestStatus("c3" * 32, "Carl", "away", 0.0)
    assert _guests_in_words(()) == ""
    assert _guests_in_words((here, away)) == "1 here, 1 away"
    assert _guests_in_words((waiting,)) == "waiting for your yes: 048 213; see meshconsole guest"
    assert _guests_in_words((waiting, here)).startswith("1 here, 0 away; waiting")
