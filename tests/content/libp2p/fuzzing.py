"""Every decoder that a libp2p peer can reach, for fuzzers: the first byte says which, the rest is for it.

Run with coverage guidance by `fuzz_peers.py`, with hypothesis by `test_fuzz.py`. Whatever comes, a decoder
answers, or raises RemoteError (or Unavailable, where more should have come), and keeps its bounds.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from meshconsole.content.exchange.bitswap import decode_message
from meshconsole.content.libp2p.identify import MAX_ADDRESSES, decode_identify
from meshconsole.content.libp2p.kademlia import MAX_PEERS, decode_answer
from meshconsole.content.libp2p.keys import PeerId, PublicKey
from meshconsole.content.libp2p.mdns import read_text
from meshconsole.content.libp2p.multiaddr import Multiaddr
from meshconsole.content.libp2p.multistream import answer, propose
from meshconsole.content.libp2p.noise import handshake
from meshconsole.content.libp2p.yamux import INITIAL_WINDOW, MAX_INBOUND, Session
from meshconsole.core.errors import RemoteError, Unavailable
from tests.content.libp2p.peers import key

if TYPE_CHECKING:
    from collections.abc import Callable

OWN = key("fuzz")


class Said:
    """The other side has said all of it already."""

    def __init__(self, *said: bytes) -> None:
        self.rest = b"".join(said)
        self.written = b""

    async def read_exactly(self, count: int) -> bytes:
        if len(self.rest) < count:
            raise Unavailable("It ends here.")
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    async def write(self, data: bytes) -> None:
        self.written += data


def feed(data: bytes) -> None:
    if data:
        with suppress(RemoteError, Unavailable):
            TARGETS[data[0] % len(TARGETS)](data[1:])


def _yamux(data: bytes) -> None:
    whole, pieces = Session(dialled=False), Session(dialled=False)
    whole.open()
    pieces.open()
    failed = False
    try:
        whole.receive(data)
    except RemoteError:
        failed = True
    with suppress(RemoteError):
        for start in range(0, len(data), 5):
            pieces.receive(data[start : start + 5])
        assert not failed, "what is refused whole is taken in pieces"
    assert whole.inbound == pieces.inbound <= MAX_INBOUND
    for session in (whole, pieces):
        assert all(len(each.received) <= INITIAL_WINDOW for each in session._streams.values())
    assert failed or whole.outbox() == pieces.outbox()


def _answering(data: bytes) -> None:
    _complete(answer(Said(data), {"/a", "/b"}))


def _proposing(data: bytes) -> None:
    _complete(propose(Said(data), ("/a", "/b")))


def _complete(work: object) -> None:
    """A coroutine that waits for nothing needs no loop."""
    assert asyncio.iscoroutine(work)
    with suppress(StopIteration):
        work.send(None)


def _identify(data: bytes) -> None:
    told = decode_identify(data, OWN.peer)
    assert len(told.listen) <= MAX_ADDRESSES
    assert told.agent.isprintable()


def _dht(data: bytes) -> None:
    told = decode_answer(data)
    assert len(told.closer) <= MAX_PEERS
    assert len(told.providers) <= MAX_PEERS


def _multiaddr(data: bytes) -> None:
    address = Multiaddr.decode(data)
    assert Multiaddr.decode(address.encode()) == address
    _ = address.host_port, address.websocket, str(address)


def _listening(data: bytes) -> None:
    steps = handshake(OWN, dialled=False)
    next(steps)
    steps.send(data)
    next(steps)
    steps.send(data)


def _dialling(data: bytes) -> None:
    steps = handshake(OWN, dialled=True)
    next(steps)
    next(steps)
    steps.send(data)


def _mdns(data: bytes) -> None:
    assert all(address.peer is not None for address in read_text(data))


TARGETS: tuple[Callable[[bytes], object], ...] = (
    _yamux,
    _answering,
    _proposing,
    _identify,
    _dht,
    _multiaddr,
    _listening,
    _dialling,
    _mdns,
    PublicKey.decode,
    PeerId.decode,
    decode_message,
)
