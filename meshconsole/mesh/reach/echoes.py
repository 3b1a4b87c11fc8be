"""Echoes: a question that finds its way to one device of the team, and the answer's way back. Pure.

An echo goes straight to its target where that has a link here; otherwise every neighbour passes it on to
its own, at most MAX_HOPS far and each echo once, and the first answer comes back by the way that it went.
So it crosses nodes that are not linked to each other, and tells by which path.

Bounded: a neighbour has ECHOES_PER_S, and what is remembered is forgotten after REMEMBERED others.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from meshconsole.core.errors import RemoteError
from meshconsole.core.limits import TokenBucket
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_HOPS = 8
ECHOES_PER_S = 20.0
REMEMBERED = 1024
MAX_NEIGHBOURS = 512

Id = Annotated[bytes, Meta(min_length=8, max_length=8)]
Npub = Annotated[bytes, Meta(min_length=32, max_length=32)]
Path = Annotated[tuple[Npub, ...], Meta(min_length=1, max_length=MAX_HOPS + 1)]


class Echo(msgspec.Struct, frozen=True, array_like=True, tag="echo"):
    """`path` are the devices that it has passed, beginning with the one that asks."""

    id: Id
    target: Npub
    path: Path


class Echoed(msgspec.Struct, frozen=True, array_like=True, tag="echoed"):
    """`path` is the whole way, from the one that asked to the target. `at_ms` is the target's clock, in
    milliseconds since the epoch."""

    id: Id
    path: Annotated[tuple[Npub, ...], Meta(min_length=2, max_length=MAX_HOPS + 2)]
    at_ms: Annotated[int, Meta(ge=-(1 << 62), le=1 << 62)]


Message = Echo | Echoed
encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def decode(payload: bytes) -> Message:
    """Raises RemoteError."""
    try:
        return _decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteError("bad-message", f"The peer sent a malformed echo: {safe(str(error), 120)}") from None


class Echoes(msgspec.Struct):
    """`me` is this device. What is returned is to be sent: (neighbour, message)."""

    me: str
    _came_from: OrderedDict[bytes, str] = msgspec.field(default_factory=OrderedDict)
    """Of echoes that are on their way: who brought them first; this device itself for its own."""
    _allowances: OrderedDict[str, TokenBucket] = msgspec.field(default_factory=OrderedDict)

    def ask(self, echo_id: bytes, target: str, neighbours: Collection[str]) -> list[tuple[str, Message]]:
        self._remember(echo_id, self.me)
        echo = Echo(echo_id, bytes.fromhex(target), (bytes.fromhex(self.me),))
        return [(to, echo) for to in _towards(target, neighbours)]

    def receive_echo(
        self, peer: str, echo: Echo, neighbours: Collection[str], now: float, at_ms: int
    ) -> list[tuple[str, Message]]:
        """Raises RemoteError if the peer hides that it has passed the echo on."""
        if echo.path[-1].hex() != peer:
            raise RemoteError("bad-message", "The peer passed on an echo without saying so.")
        if echo.id in self._came_from or not self._allowance(peer).try_take(1, now):
            return []
        mine = bytes.fromhex(self.me)
        if echo.target == mine:
            self._remember(echo.id, peer)
            return [(peer, Echoed(echo.id, (*echo.path, mine), at_ms))]
        if mine in echo.path or len(echo.path) > MAX_HOPS:
            return []
        self._remember(echo.id, peer)
        onward = Echo(echo.id, echo.target, (*echo.path, mine))
        passed = {npub.hex() for npub in echo.path}
        return [(to, onward) for to in _towards(echo.target.hex(), neighbours) if to not in passed]

    def receive_echoed(self, peer: str, echoed: Echoed) -> list[tuple[str, Message]] | Echoed:
        """The answer itself if it is for this device; nothing of a second one, or one not asked for."""
        came_from = self._came_from.get(echoed.id)
        path = [npub.hex() for npub in echoed.path]
        if came_from is None or self.me not in path[:-1] or path[path.index(self.me) + 1] != peer:
            return []
        self._came_from[echoed.id] = ""
        if came_from == self.me:
            return echoed
        return [(came_from, echoed)] if came_from else []

    def _remember(self, echo_id: bytes, came_from: str) -> None:
        self._came_from[echo_id] = came_from
        if len(self._came_from) > REMEMBERED:
            self._came_from.popitem(last=False)

    def _allowance(self, peer: str) -> TokenBucket:
        bucket = self._allowances.get(peer)
        if bucket is None:
            bucket = self._allowances[peer] = TokenBucket(ECHOES_PER_S, 2 * ECHOES_PER_S)
            if len(self._allowances) > MAX_NEIGHBOURS:
                self._allowances.popitem(last=False)
        return bucket


def _towards(target: str, neighbours: Collection[str]) -> list[str]:
    return [target] if target in neighbours else list(neighbours)
