"""What the DHT is asked for, now and then: where sought peers are, and who has what is waited for."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from meshconsole.core.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from meshconsole.content.libp2p.dht import Dht
    from meshconsole.content.libp2p.keys import PeerId
    from meshconsole.content.libp2p.multiaddr import Multiaddr

log = logging.getLogger(__name__)

LOOK_S = 15.0
AGAIN_S = 300.0
"""The same is not asked for again before."""
MAX_PROVIDERS = 8


class Finding:
    """`lost` are peers whose address is not known or does not answer; `wanted` multihashes that nobody
    known has. `peer_found` and `provider_found` are told addresses that end in a peer id."""

    def __init__(
        self,
        dht: Dht,
        lost: Callable[[], Collection[PeerId]],
        wanted: Callable[[], Collection[bytes]],
        peer_found: Callable[[Multiaddr], None],
        provider_found: Callable[[Multiaddr], None],
    ) -> None:
        self._dht = dht
        self._lost = lost
        self._wanted = wanted
        self._peer_found = peer_found
        self._provider_found = provider_found
        self._asked: dict[bytes, float] = {}
        self.line = "not asked yet"

    async def run(self) -> None:
        while True:
            try:
                await self._look()
            except Unavailable as error:
                self.line = error.sentence
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> None:
        now = time.monotonic()
        self._asked = {key: at for key, at in self._asked.items() if now - at < AGAIN_S}
        for peer in self._lost():
            if self._is_due(peer.multihash):
                for address in await self._dht.find_peer(peer):
                    self._peer_found(address.with_peer(peer))
                self.line = f"{self._dht.last_asked} servers answered"
        for multihash in self._wanted():
            if self._is_due(multihash):
                providers = await self._dht.providers(multihash, MAX_PROVIDERS)
                for found in providers[:MAX_PROVIDERS]:
                    for address in found.addresses:
                        self._provider_found(address.with_peer(found.peer))
                self.line = f"{self._dht.last_asked} servers answered"

    def _is_due(self, key: bytes) -> bool:
        if key in self._asked:
            return False
        self._asked[key] = time.monotonic()
        return True
