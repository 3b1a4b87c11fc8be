"""A hub between two devices that ends their DTLS itself: the TLS session inside does not care.

Whoever carries the descriptions can put its own DTLS fingerprints into them, and then reads what the data
channel carries. That is one whole TLS session between the devices, and nothing else.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress

import pytest

from meshconsole.core.errors import MeshconsoleError, RemoteError
from meshconsole.crypto.tls import TlsSession
from meshconsole.mesh.links.pipe import PipeClosed
from meshconsole.mesh.links.secure import SecurePipe
from meshconsole.mesh.links.webrtc import DataChannelAnswer, DataChannelOffer, DataChannelPipe
from tests.mesh.devices import MC1, credentials, key_of
from tests.mesh.link_pair import CountingMeter

pytestmark = pytest.mark.slow

SECRET = b"planted between two devices"


class Middleman:
    """Two data channels of its own, and everything that went from one to the other."""

    def __init__(self, *, flip_at: int | None = None) -> None:
        self.seen: list[bytes] = []
        self._flip_at = flip_at
        self._pipes: list[DataChannelPipe] = []
        self._carrying: list[asyncio.Task[None]] = []

    async def connect(self) -> tuple[DataChannelPipe, DataChannelPipe]:
        """The pipes of the two devices, each of which ends at the middleman."""
        async with asyncio.timeout(30):
            offer = await DataChannelOffer.make("bob", loopback=True)
            to_alice = await DataChannelAnswer.make(offer.text, "alice", loopback=True)
            to_bob = await DataChannelOffer.make("bob", loopback=True)
            answer = await DataChannelAnswer.make(to_bob.text, "alice", loopback=True)
            alice, near, bob, far = await asyncio.gather(
                offer.connect(to_alice.text),
                to_alice.connect(),
                answer.connect(),
                to_bob.connect(answer.text),
            )
        self._pipes = [alice, bob, near, far]
        self._carrying = [asyncio.create_task(self._carry(a, b)) for a, b in ((near, far), (far, near))]
        return alice, bob

    async def _carry(self, source: DataChannelPipe, target: DataChannelPipe) -> None:
        with suppress(PipeClosed):
            while True:
                data = await source.receive()
                if self._flip_at is not None and len(self.seen) == self._flip_at:
                    data = data[:-1] + bytes([data[-1] ^ 1])
                self.seen.append(data)
                await target.send(data)

    async def leave(self) -> None:
        for task in self._carrying:
            task.cancel()
        for pipe in self._pipes:
            await pipe.close("the test is over")


def secured(pipe: DataChannelPipe, me: str, peer: str, *, server: bool) -> SecurePipe:
    key = key_of(peer)
    session = TlsSession(credentials(me, MC1), server=server, accept=lambda shown: shown == key)
    return SecurePipe(pipe, session, CountingMeter())


async def test_swapped_fingerprints_show_the_middleman_ciphertext_only() -> None:
    middleman = Middleman()
    a, b = await middleman.connect()
    alice, bob = secured(a, "alice", "bob", server=False), secured(b, "bob", "alice", server=True)
    async with asyncio.timeout(30):
        await asyncio.gather(alice.shake_hands(), bob.shake_hands())
        await alice.send(SECRET)
        assert await bob.receive() == SECRET
    assert alice.session.group == MC1.tls_group
    seen = b"".join(middleman.seen)
    assert len(seen) > 10_000, "the whole handshake went through the middleman"
    assert SECRET not in seen
    assert key_of("alice") not in seen, "not even who speaks with whom"
    assert key_of("bob") not in seen
    await middleman.leave()


@pytest.mark.parametrize("flip_at", [0, 1, 2])
async def test_a_middleman_that_changes_a_bit_gets_no_link(flip_at: int) -> None:
    middleman = Middleman(flip_at=flip_at)
    a, b = await middleman.connect()
    alice, bob = secured(a, "alice", "bob", server=False), secured(b, "bob", "alice", server=True)
    async with asyncio.timeout(30):

        async def both() -> None:
            await asyncio.gather(alice.shake_hands(), bob.shake_hands())
            await alice.send(SECRET)
            await bob.receive()

        with pytest.raises((RemoteError, PipeClosed, ExceptionGroup)):
            await both()
    await middleman.leave()


async def test_a_middleman_that_ends_the_tls_too_is_an_impostor_to_both() -> None:
    """With keys of its own: neither device has them in its roster."""
    middleman = Middleman()
    a, b = await middleman.connect()
    for task in middleman._carrying:
        task.cancel()
    near, far = middleman._pipes[2:]
    alice, bob = secured(a, "alice", "bob", server=False), secured(b, "bob", "alice", server=True)
    as_bob = SecurePipe(
        near, TlsSession(credentials("mallory", MC1), server=True, accept=lambda _: True), CountingMeter()
    )
    as_alice = SecurePipe(
        far, TlsSession(credentials("mallory", MC1), server=False, accept=lambda _: True), CountingMeter()
    )
    async with asyncio.timeout(30):
        outcomes = await asyncio.gather(
            alice.shake_hands(),
            bob.shake_hands(),
            as_bob.shake_hands(),
            as_alice.shake_hands(),
            return_exceptions=True,
        )
    assert isinstance(outcomes[0], MeshconsoleError)
    assert isinstance(outcomes[1], MeshconsoleError)
    assert not alice.session.established
    assert not bob.session.established
    await middleman.leave()


async def test_a_description_with_another_fingerprint_does_not_connect() -> None:
    """Without the key that belongs to it: DTLS itself refuses."""
    offer = await DataChannelOffer.make("bob", loopback=True)
    forged = re.sub(
        r"(?m)^(a=fingerprint:\S+) (..)(.*)$",
        lambda found: f"{found[1]} {int(found[2], 16) ^ 1:02X}{found[3]}",
        offer.text,
    )
    assert forged != offer.text
    answer = await DataChannelAnswer.make(forged, "alice", loopback=True)
    with pytest.raises((TimeoutError, MeshconsoleError)):
        async with asyncio.timeout(5):
            await asyncio.gather(offer.connect(answer.text), answer.connect())
    await offer.close()
    await answer.close()
