"""NIP-86 as this node answers it: who calls (NIP-98), what is saved, recorded and done at once.

An act is durable and in the audit log before it is answered. Only those who govern the team may call,
and this node's own key; nobody can ban them here, for that is the roster's matter.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from meshconsole.core.errors import Refused
from meshconsole.core.event import decode_event
from meshconsole.core.kinds import CONTROL_KINDS, REPORT
from meshconsole.core.verdict import refuse
from meshconsole.relay import management
from meshconsole.relay.event import is_hex
from meshconsole.relay.filter import Filter
from meshconsole.relay.http_auth import UsedTokens, read_token, use_token
from meshconsole.relay.postdesk import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.node.listbook import ListBook
    from meshconsole.node.state import NodeState
    from meshconsole.relay.http_auth import HttpRequest
    from meshconsole.relay.lists import Lists
    from meshconsole.relay.relay import Relay

TOKENS = "http-tokens"
MAX_REPORTS = 500
NO_ADMIN = refuse("restricted", "only the team's admins may manage this relay")
LOGIN = (("WWW-Authenticate", "Nostr"),)


class Record(Protocol):
    def __call__(self, act: str, **detail: str) -> None: ...


class Managing:
    """`may_manage` answers for a public key; `takes_two` says that one admin alone lets nobody in; `changed`
    hears of new lists once they count; `clock` is in seconds since the epoch."""

    def __init__(
        self,
        *,
        book: ListBook,
        state: NodeState,
        relay: Relay,
        may_manage: Callable[[str], bool],
        takes_two: Callable[[], bool],
        record: Record,
        changed: Callable[[Lists], None],
        clock: Callable[[], float],
    ) -> None:
        self._book = book
        self._state = state
        self._relay = relay
        self._may_manage = may_manage
        self._takes_two = takes_two
        self._record = record
        self._changed = changed
        self._clock = clock
        self._used = state.get(TOKENS, UsedTokens, UsedTokens())
        self._one_at_a_time = asyncio.Lock()

    async def answer(self, request: HttpRequest, is_own_url: Callable[[str], bool]) -> Answer:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != management.MEDIA_TYPE:
            sentence = f"Calls are sent as {management.MEDIA_TYPE}."
            return Answer(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, management.failure(sentence))
        async with self._one_at_a_time:
            try:
                npub = await self._caller(request, is_own_url)
            except Refused as refused:
                self._relay.traffic.refuse(refuse("auth-required", refused.sentence))
                body = management.failure(f"{refused.code}: {refused.sentence}")
                return Answer(HTTPStatus.UNAUTHORIZED, body, LOGIN)
            if not self._may_manage(npub):
                self._relay.traffic.refuse(NO_ADMIN)
                return Answer(HTTPStatus.FORBIDDEN, management.failure(NO_ADMIN.message))
            try:
                result = await self._call(npub, management.read_call(request.body))
            except Refused as refused:
                return Answer(HTTPStatus.OK, management.failure(f"{refused.code}: {refused.sentence}"))
            return Answer(HTTPStatus.OK, management.answer(result))

    async def act(self, npub: str, method: str, *params: object) -> None:
        """What the node's owner does here. Raises Refused."""
        async with self._one_at_a_time:
            await self._call(npub, management.Call(method, list(params)))

    async def _caller(self, request: HttpRequest, is_own_url: Callable[[str], bool]) -> str:
        """Raises Refused. Only the tokens of those who may call are remembered: nobody else can make
        this node write."""
        token = read_token(request, is_own_url)
        used = use_token(self._used, token, int(self._clock()))
        if self._may_manage(token.pubkey):
            await asyncio.to_thread(self._state.put, TOKENS, used)
            self._used = used
        return token.pubkey

    async def _call(self, npub: str, call: management.Call) -> object:
        before = self._book.current
        reported = await self._reported() if call.method == "listeventsneedingmoderation" else {}
        outcome = management.carry_out(call, before, reported)
        if not management.changes(call.method):
            return outcome.result
        subject = management.subject(call)
        if call.method == "banpubkey" and self._may_manage(subject):
            raise Refused("restricted", "an admin's key is not banned here: remove it from the team")
        if call.method == "allowpubkey" and self._takes_two():
            raise Refused(
                "restricted",
                "the team's rule two_admins is on: let the key in with meshconsole team client add",
            )
        if call.method == "banevent":
            await self._must_not_make_the_team(subject)
        if outcome.lists != before:
            await asyncio.to_thread(self._book.replace, outcome.lists)
        self._record(f"relay-{call.method}", by=npub, subject=subject)
        self._changed(outcome.lists)
        if call.method == "banevent":
            await self._relay.delete([Filter(ids=frozenset({subject}))])
        return outcome.result

    async def _must_not_make_the_team(self, event_id: str) -> None:
        raws = await self._relay.query([Filter(ids=frozenset({event_id}))], 1)
        if any(decode_event(raw).kind in CONTROL_KINDS for raw in raws):
            raise Refused("restricted", "what makes the team cannot be banned")

    async def _reported(self) -> dict[str, str]:
        """Events held here that NIP-56 reports name, with what they were reported for; newest last."""
        raws = await self._relay.query([Filter(kinds=frozenset({REPORT}))], MAX_REPORTS)
        reported: dict[str, str] = {}
        for raw in reversed(raws):
            for tag in decode_event(raw).tags:
                if len(tag) > 1 and tag[0] == "e" and is_hex(tag[1], 64):
                    reported[tag[1]] = tag[2][:200] if len(tag) > 2 else ""
        held = await asyncio.to_thread(self._relay.store.known, list(reported))
        return {event_id: why for event_id, why in reported.items() if event_id in held}
