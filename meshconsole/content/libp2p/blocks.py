"""Bitswap with libp2p peers: the same exchange as over the team's links, in libp2p's streams.

What goes out uses one long-lived stream of our own, and inbound streams stay open: Kubo sends its wants on
the first stream only, and neither Kubo nor Helia reads the stream on which it asks. Bitswap 1.0, which sends
blocks without saying what they hash to, is not spoken. Source: specs.ipfs.tech/bitswap-protocol.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from meshconsole.content.exchange.bitswap import MAX_MESSAGE_BYTES
from meshconsole.content.libp2p.connection import StreamClosed
from meshconsole.core.errors import MeshconsoleError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from meshconsole.content.libp2p.connection import Connection, Stream
    from meshconsole.content.libp2p.host import Host
    from meshconsole.content.libp2p.keys import PeerId

BITSWAP = ("/ipfs/bitswap/1.2.0", "/ipfs/bitswap/1.1.0")


class Exchanging(Protocol):
    """What blocks go through: `content.service.Content`."""

    def attach(
        self,
        peer: str,
        send: Callable[[bytes], Awaitable[None]],
        may_read: Callable[[str], bool],
        /,
        *,
        may_hear: Callable[[bytes], bool] | None = None,
    ) -> None: ...

    def detach(self, peer: str, /) -> None: ...

    async def receive(self, peer: str, message: bytes, /) -> None: ...


class Blocks:
    """`may_read(peer)` says whether the peer is given blocks at all, `tells_strangers(multihash)` whether
    they may learn that this root is fetched."""

    def __init__(
        self,
        content: Exchanging,
        host: Host,
        may_read: Callable[[PeerId], bool],
        tells_strangers: Callable[[bytes], bool],
    ) -> None:
        self._content = content
        self._host = host
        self._may_read = may_read
        self._tells_strangers = tells_strangers
        self._senders: dict[PeerId, _Sender] = {}
        self._cut_off: set[PeerId] = set()
        """Sending to them failed, so the content store lets them go: another connection may be left."""
        self.handlers = dict.fromkeys(BITSWAP, self._read)

    def up(self, connection: Connection) -> None:
        if connection.identified.protocols & set(BITSWAP):
            self._attach(connection.peer)

    def down(self, connection: Connection) -> None:
        peer = connection.peer
        if self._host.of(peer) is None:
            self.detach(peer)
        elif peer in self._cut_off:
            self._attach(peer)

    def detach(self, peer: PeerId) -> None:
        self._cut_off.discard(peer)
        if self._senders.pop(peer, None) is not None:
            self._content.detach(str(peer))

    def _attach(self, peer: PeerId) -> None:
        if peer not in self._senders:
            sender = self._senders[peer] = _Sender(self._host, peer, self._failed)
            self._cut_off.discard(peer)
            connection = self._host.of(peer)  # whose standing lasts: it is closed when another is due
            is_of_team = connection is not None and connection.standing == "team"
            self._content.attach(
                str(peer),
                sender.send,
                lambda _: self._may_read(peer),
                may_hear=None if is_of_team else self._tells_strangers,
            )

    def _failed(self, sender: _Sender) -> None:
        if self._senders.get(sender.peer) is sender:
            del self._senders[sender.peer]
            self._cut_off.add(sender.peer)

    async def _read(self, stream: Stream) -> None:
        peer = stream.connection.peer
        self._attach(peer)  # it speaks bitswap, whether or not it has said so yet
        while True:
            message = await stream.read_message(MAX_MESSAGE_BYTES)
            await self._content.receive(str(peer), message)


class _Sender:
    """One stream of ours to a peer, opened when there is something to send."""

    def __init__(self, host: Host, peer: PeerId, failed: Callable[[_Sender], None]) -> None:
        self.peer = peer
        self._host = host
        self._failed = failed
        self._stream: Stream | None = None
        self._turn = asyncio.Lock()

    async def send(self, message: bytes) -> None:
        """Raises RemoteError, Unavailable; the connection is closed then."""
        async with self._turn:
            connection = self._host.of(self.peer)
            if connection is None:
                self._failed(self)
                raise Unavailable(f"There is no connection to {self.peer}.")
            try:
                try:
                    await self._write(connection, message)
                except StreamClosed:  # the peer has let go of our stream: another one, and all of it again
                    await self._write(connection, message)
            except MeshconsoleError as error:
                self._failed(self)  # first: closing may tell at once that the connection is down
                connection.close(error.sentence)
                raise

    async def _write(self, connection: Connection, message: bytes) -> None:
        if self._stream is None or not self._stream.is_open:
            self._stream, _ = await connection.open(BITSWAP)
        await self._stream.write_message(message)
