"""What the sessions with all peers share, and what the mesh asks of the rooms around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection
    from random import Random

    from meshconsole.mesh.asked import Asked
    from meshconsole.mesh.clock import TeamClock
    from meshconsole.mesh.control_rows import ControlRows
    from meshconsole.mesh.known import KnownIds
    from meshconsole.mesh.rows import RecentRows
    from meshconsole.mesh.snapshots import Snapshots
    from meshconsole.relay.relay import Relay


class Cursors(Protocol):
    """How far into each peer's log this node has come. Both may block; `put` is durable on return."""

    def get(self, peer: str, log_id: str, /) -> int: ...

    def put(self, peer: str, log_id: str, seq: int, /) -> None: ...


class Blocks(Protocol):
    """The content room, as far as it speaks with peers. `may_read(cid)` says what the peer may have."""

    def attach(
        self, peer: str, send: Callable[[bytes], Awaitable[None]], may_read: Callable[[str], bool], /
    ) -> None: ...

    def detach(self, peer: str, /) -> None: ...

    async def receive(self, peer: str, message: bytes, /) -> None: ...

    async def stock(self, peer: str, /) -> Collection[bytes] | None:
        """Ids of the blocks that are here, 32 bytes each; None if they are too many, or not for the peer."""

    def stocked(self, peer: str, ids: frozenset[bytes], /) -> None:
        """Ids of blocks that the peer has and this side lacked a moment ago; all that is known of it."""


class Surroundings(msgspec.Struct):
    """What all sessions of a node share. `settled` are ids that went through the store lately,
    `asked` those that some peer was asked for."""

    relay: Relay
    content: Blocks | None
    cursors: Cursors
    rows: RecentRows
    settled: KnownIds
    asked: Asked
    snapshots: Snapshots
    control: ControlRows
    now: Callable[[], float]
    random: Random
    clock: TeamClock

    def nobody_follows(self, seq: int) -> None:
        """An event that came while there is no session: those to come find it in the store, and memory is
        not taken for them."""
        self.rows.skip(seq)
        self.settled.clear()


def via_name(npub: str) -> str:
    """How the relay knows which link an event came over."""
    return f"link {npub}"


def is_from_a_link(via: str) -> bool:
    return via.startswith("link ")
