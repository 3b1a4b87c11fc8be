"""NIP-86 through NIP-98: who may call, what is durable, recorded and done."""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest

from meshconsole.core import kinds
from meshconsole.node.listbook import ListBook
from meshconsole.node.managing import NO_ADMIN, Managing
from meshconsole.node.state import NodeState
from meshconsole.relay.http_auth import HttpRequest
from meshconsole.relay.management import MEDIA_TYPE
from meshconsole.relay.relay import Relay
from tests.relay.making import NOW, Clock, Public, npub, raw, signed, unsigned
from tests.relay.memory import MemoryEventStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from meshconsole.core.event import Event
    from meshconsole.relay.lists import Lists

HOST = "pi.local:7447"
KEY = b"k" * 32


class House:
    """A node's managing and what it is joined to."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.state = NodeState(folder / "node.db", KEY)
        self.book = ListBook(self.state)
        self.recorded: list[tuple[str, dict[str, str]]] = []
        self.told: list[Lists] = []
        self.store = MemoryEventStore(self.clock)
        self.relay = Relay(self.store, access=Public(), emit=lambda _: None, lists=lambda: self.book.current)
        self.admins = {npub("alice")}
        self.two_admins = False
        self.managing = self.restarted()

    def restarted(self) -> Managing:
        self.managing = Managing(
            book=self.book,
            state=self.state,
            relay=self.relay,
            may_manage=self.admins.__contains__,
            takes_two=lambda: self.two_admins,
            record=self.record,
            changed=self.told.append,
            clock=self.clock,
        )
        return self.managing

    def record(self, act: str, **detail: str) -> None:
        self.recorded.append((act, detail))

    async def send(self, request: HttpRequest) -> tuple[HTTPStatus, Any]:
        answer = await self.managing.answer(request, lambda url: "pi.local" in url)
        return answer.status, json.loads(answer.body)

    async def call(self, method: str, *params: object, author: str = "alice") -> Any:  # noqa: ANN401
        self.clock.now += 1  # else two equal calls would be one token
        status, said = await self.send(request(method, *params, author=author, at=int(self.clock.now)))
        assert status == HTTPStatus.OK, said
        return said.get("error") or said["result"]


def token(body: bytes, author: str = "alice", at: int = NOW) -> Event:
    tags = (("u", f"ws://{HOST}/"), ("method", "POST"), ("payload", sha256(body).hexdigest()))
    return signed(author, kinds.HTTP_AUTH, tags, "", at)


def request(method: str, *params: object, author: str = "alice", at: int = NOW) -> HttpRequest:
    body = json.dumps({"method": method, "params": params}).encode()
    authorization = "Nostr " + base64.b64encode(raw(token(body, author, at))).decode()
    return HttpRequest("POST", "/", headers(authorization), body)


def headers(authorization: str) -> dict[str, str]:
    return {"host": HOST, "content-type": f"{MEDIA_TYPE}; charset=utf-8", "authorization": authorization}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path)
    await made.relay.start()
    yield made
    await made.relay.stop()
    made.state.close()


async def test_an_admin_bans_and_it_survives_a_restart(house: House) -> None:
    assert await house.call("banpubkey", npub("mallory"), "spam") is True
    assert house.recorded == [("relay-banpubkey", {"by": npub("alice"), "subject": npub("mallory")})]
    assert house.told == [house.book.current]
    assert ListBook(house.state).current.banned_keys == {npub("mallory"): "spam"}
    assert await house.call("listbannedpubkeys") == [{"pubkey": npub("mallory"), "reason": "spam"}]
    assert len(house.recorded) == 1, "a question is no act"


async def test_under_the_rule_of_two_admins_one_lets_no_key_in(house: House) -> None:
    assert await house.call("allowpubkey", npub("bob")) is True
    house.two_admins = True
    assert "two_admins is on" in await house.call("allowpubkey", npub("mallory"))
    assert set(house.book.current.allowed_keys) == {npub("bob")}
    assert await house.call("unallowpubkey", npub("bob")) is True
    assert await house.call("banpubkey", npub("mallory")) is True


async def test_nobody_else_may_call(house: House) -> None:
    status, said = await house.send(request("supportedmethods", author="bob"))
    assert status == HTTPStatus.FORBIDDEN
    assert "admins" in said["error"]
    assert house.relay.status().refusals == {f"restricted: {NO_ADMIN.sentence}": 1}
    assert house.book.current.banned_keys == {}


async def test_without_a_valid_token_it_is_401(house: House) -> None:
    sent = request("supportedmethods")
    for wrong in (
        sent._replace(headers=headers("")),
        sent._replace(body=sent.body + b" "),
        sent._replace(headers={**sent.headers, "host": "elsewhere:1"}),
        request("supportedmethods", at=NOW - 10_000),
    ):
        answer = await house.managing.answer(wrong, lambda url: "pi.local" in url)
        assert answer.status == HTTPStatus.UNAUTHORIZED
        assert ("WWW-Authenticate", "Nostr") in answer.headers
        assert json.loads(answer.body)["error"].startswith("auth-required: ")
    assert house.relay.status().refusals == {"auth-required: the authorization is not valid": 4}


async def test_a_token_is_used_once_even_across_a_restart(house: House) -> None:
    sent = request("banpubkey", npub("mallory"))
    assert (await house.send(sent))[0] == HTTPStatus.OK
    assert (await house.send(sent))[0] == HTTPStatus.UNAUTHORIZED
    house.restarted()
    assert (await house.send(sent))[0] == HTTPStatus.UNAUTHORIZED
    assert len(house.recorded) == 1


async def test_strangers_leave_nothing_behind(house: House) -> None:
    sent = request("supportedmethods", author="bob")
    await house.send(sent)
    assert house.state.get("http-tokens", dict[str, Any], {}) == {}


async def test_a_banned_event_goes_and_does_not_come_back(house: House) -> None:
    event = signed("mallory", content="rude")
    assert (await house.relay.publish(event)).accepted
    assert await house.call("banevent", event.id, "rude") is True
    assert house.store.known([event.id]) == set()
    assert (await house.relay.publish(event, trusted=True, via="link")).code == "blocked"
    assert await house.call("allowevent", event.id) is True
    assert await house.call("listbannedevents") == []


async def test_what_makes_the_team_is_not_banned(house: House) -> None:
    entry = unsigned(kind=kinds.ROSTER_ENTRY)
    house.store.add([entry])
    assert "makes the team" in await house.call("banevent", entry.id)
    assert "remove it from the team" in await house.call("banpubkey", npub("alice"))
    assert house.book.current.banned_keys == {}
    assert house.recorded == []


async def test_reported_events_are_shown_until_they_are_judged(house: House) -> None:
    bad, gone = signed("mallory", content="rude"), signed("mallory", content="never held")
    report = signed("bob", kinds.REPORT, (("p", npub("mallory")), ("e", bad.id, "profanity"), ("e", gone.id)))
    for event in (bad, report):
        assert (await house.relay.publish(event)).accepted
    assert await house.call("listeventsneedingmoderation") == [{"id": bad.id, "reason": "profanity"}]
    await house.call("allowevent", bad.id)
    assert await house.call("listeventsneedingmoderation") == []


async def test_errors_are_told(house: House) -> None:
    assert (await house.call("assignrole", npub("bob"), "admin")).startswith("restricted: ")
    assert (await house.call("nonsense")).startswith("unsupported: ")
    assert (await house.call("blockip", "nowhere")).startswith("invalid: ")
    plain = request("supportedmethods")
    status, _ = await house.send(plain._replace(headers={**plain.headers, "content-type": "text/plain"}))
    assert status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE
