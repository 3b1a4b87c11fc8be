"""A session on the bench: what it is told, what it says. No socket, no store, no clock."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from meshconsole.core.kinds import CLIENT_AUTH
from meshconsole.core.sections import RelaySection
from meshconsole.relay.happening import Happening, Opened
from meshconsole.relay.policy import Access, Client, House
from meshconsole.relay.session import Session, Subscription
from meshconsole.relay.verbs import receive
from tests.relay.making import NOW, Public, raw, signed

if TYPE_CHECKING:
    from meshconsole.core.event import Tags

CHALLENGE = "fresh-challenge"
URL = "ws://relay.example"
HEX = "ab" * 32


class Bench:
    """A session and what it says."""

    def __init__(self, access: Access | None = None, *, trusted: bool = False, **limits: object) -> None:
        self.wakes = 0
        self.now = 0.0
        config = msgspec.convert(limits, RelaySection)
        self.client = Client(House(access or Public(), config), trusted=trusted)
        self.session = Session(self.client, config, CHALLENGE, self._wake, lambda url: url.startswith(URL))

    def tell(self, *parts: object) -> list[Happening]:
        return receive(self.session, json.dumps(parts).encode(), self.now)

    def said(self) -> list[Any]:
        return [json.loads(message) for message in self.session.outbox()]

    def open(self, name: str = "sub", *filters: dict[str, Any]) -> Subscription:
        happened = self.tell("REQ", name, *(filters or ({},)))
        assert isinstance(happened[-1], Opened), self.said()
        return happened[-1].subscription

    def follow(self, name: str = "sub", snapshot: int = 0) -> Subscription:
        """An open subscription whose stored part is done."""
        subscription = self.open(name)
        self.session.finish(subscription, snapshot)
        assert self.said() == [["EOSE", name]]
        return subscription

    def login(
        self,
        author: str = "alice",
        kind: int = CLIENT_AUTH,
        tags: Tags = (("relay", URL), ("challenge", CHALLENGE)),
        at: int = NOW,
    ) -> list[Any]:
        event = signed(author, kind, tags, "", at)
        assert self.tell("AUTH", json.loads(raw(event))) == []
        return self.said()

    def _wake(self) -> None:
        self.wakes += 1
