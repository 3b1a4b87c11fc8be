"""libp2p's own discovery on the local link: `_p2p._udp`, whose TXT record holds whole addresses.

The record is read as it comes, without asking for a host name behind it: js-libp2p publishes none. Source:
libp2p/specs, discovery/mdns.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from meshconsole.content.libp2p.multiaddr import Multiaddr
from meshconsole.core.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zeroconf.asyncio import AsyncServiceInfo

    from meshconsole.content.libp2p.keys import PeerId

log = logging.getLogger(__name__)

SERVICE = "_p2p._udp.local."
KEY = b"dnsaddr="
NAME_BYTES = 20
RETRY_S = 60.0
REFRESH_S = 30.0
CLOSE_S = 2.0
MAX_ADDRESSES = 8
"""Of one record, and of this node's own."""


class Mdns:
    """`found` is called with each address that ends in a peer id, again and again."""

    def __init__(
        self,
        peer: PeerId,
        addresses: Callable[[], tuple[Multiaddr, ...]],
        found: Callable[[Multiaddr], None],
    ) -> None:
        self._peer = peer
        self._addresses = addresses
        self._found = found
        # A random name: the peer id stands in the record, and nothing else is to be told by it.
        self._name = os.urandom(NAME_BYTES).hex()

    async def run(self) -> None:
        """Announces and listens until it is cancelled."""
        while True:
            try:
                await self._announce_and_listen()
            except (OSError, RuntimeError) as error:  # RuntimeError: zeroconf found no interface
                log.warning("libp2p mDNS does not work here: %s; tried again in %.0f s", error, RETRY_S)
                await asyncio.sleep(RETRY_S)

    async def _announce_and_listen(self) -> None:
        from zeroconf import RecordUpdate, RecordUpdateListener, Zeroconf
        from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

        take = self._take

        class Listener(RecordUpdateListener):
            def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:
                del zc, now
                for update in records:
                    text = getattr(update.new, "text", None)  # only TXT records have one
                    if isinstance(text, bytes) and update.new.name.endswith(SERVICE):
                        take(text)

            def async_update_records_complete(self) -> None:
                return None

        zeroconf = AsyncZeroconf()
        try:
            await zeroconf.zeroconf.async_wait_for_start()
            zeroconf.zeroconf.async_add_listener(Listener(), None)
            browser = AsyncServiceBrowser(zeroconf.zeroconf, SERVICE, handlers=[_nothing])
            told = self._info()
            await (await zeroconf.async_register_service(told))
            try:
                while True:
                    await asyncio.sleep(REFRESH_S)
                    await zeroconf.async_update_interfaces()
                    if (fresh := self._info()).text != told.text:
                        await (await zeroconf.async_update_service(fresh))
                        told = fresh
            finally:
                await browser.async_cancel()
        finally:
            async with asyncio.timeout(CLOSE_S):
                await zeroconf.async_close()

    def _take(self, text: bytes) -> None:
        for address in read_text(text):
            self._found(address)

    def _info(self) -> AsyncServiceInfo:
        from zeroconf.asyncio import AsyncServiceInfo

        own = [address.with_peer(self._peer) for address in self._addresses()[:MAX_ADDRESSES]]
        port = int(own[0].parts[1][1]) if own else 0
        return AsyncServiceInfo(
            SERVICE,
            f"{self._name}.{SERVICE}",
            port=port,
            properties=make_text(own),
            server=f"{self._name}.local.",
        )


def make_text(addresses: list[Multiaddr]) -> bytes:
    """A TXT record's strings, each behind its length (RFC 6763 §6)."""
    strings = [KEY + str(address).encode() for address in addresses]
    return b"".join(bytes((len(each),)) + each for each in strings if len(each) < 256)


def read_text(text: bytes) -> Iterator[Multiaddr]:
    """The addresses in a TXT record that end in a peer id; what is none is passed over."""
    position = count = 0
    while position < len(text) and count < MAX_ADDRESSES:
        end = position + 1 + text[position]
        string, position = text[position + 1 : end], end
        if not string.startswith(KEY):
            continue
        count += 1
        try:
            address = Multiaddr.parse(string[len(KEY) :].decode("ascii", "replace"))
        except RemoteError:
            continue
        if address.peer is not None:
            yield address


def _nothing(**_: object) -> None:
    """Browsing makes zeroconf ask; the records themselves come to the listener."""
