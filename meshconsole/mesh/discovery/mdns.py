"""The mDNS rung: announces this node in the local network and hears the others.

zeroconf is imported when the rung starts. Without permission, without multicast or without a network the
rung says so in its line, and tries again; it never takes anything else down.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
from typing import TYPE_CHECKING

from meshconsole.core.text import safe
from meshconsole.mesh.discovery.advertisement import (
    ID_BYTES,
    RELAY_SERVICE,
    SERVICE,
    Advertisement,
    make_txt,
    read_advertisement,
)
from meshconsole.mesh.endpoints import split_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from zeroconf import ServiceStateChange, Zeroconf
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

log = logging.getLogger(__name__)

RETRY_S = 60.0
RESOLVE_MS = 3000
CLOSE_S = 1.0
MAX_SEEN = 256
MAX_RESOLVING = 16


class MdnsRung:
    """`tag(id)` blinds the team for that id, "" without a key; `listen()` is where this node answers.

    `is_public` says whether strangers may be told where the relay answers. `found` is called for every other
    node that is seen or has changed, `lost` for one that says goodbye.
    """

    def __init__(
        self,
        *,
        tag: Callable[[bytes], str],
        listen: Callable[[], tuple[str, ...]],
        is_public: Callable[[], bool] = lambda: False,
        found: Callable[[Advertisement], None],
        lost: Callable[[Advertisement], None],
    ) -> None:
        self._tag = tag
        self._listen = listen
        self._is_public = is_public
        self._found = found
        self._lost = lost
        self._id = os.urandom(ID_BYTES).hex()
        self._seen: dict[str, Advertisement] = {}
        self._names: asyncio.Queue[str] = asyncio.Queue(MAX_SEEN)
        self._refresh = asyncio.Event()
        self._line = "starting"

    @property
    def line(self) -> str:
        """What the rung does now, or why it does not."""
        return self._line

    @property
    def seen(self) -> int:
        return len(self._seen)

    def refresh(self) -> None:
        """Addresses, the team's key or what strangers may be told have changed."""
        self._refresh.set()

    async def run(self) -> None:
        """Announces and listens until it is cancelled."""
        while True:
            try:
                await self._announce_and_listen()
            except Exception as error:
                # OSError, RuntimeError ("no interfaces") and zeroconf's own, alone or in a group: whatever
                # it is, the other rungs go on and the owner reads why this one does not.
                self._line = f"does not work here: {_words(error)}; tried again in {RETRY_S:.0f} s"
                log.warning("mDNS %s", self._line)
            for name in tuple(self._seen):
                self._goodbye(name)
            self._refresh.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY_S):
                    await self._refresh.wait()

    async def _announce_and_listen(self) -> None:
        from zeroconf import IPVersion, ServiceStateChange
        from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

        def changed(
            *, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
        ) -> None:
            del zeroconf, service_type
            self._named(name, is_gone=state_change is ServiceStateChange.Removed)

        zeroconf = AsyncZeroconf(ip_version=IPVersion.V4Only if _only_v4(self._listen()) else IPVersion.All)
        try:
            info = self._info()
            browser = AsyncServiceBrowser(zeroconf.zeroconf, SERVICE, handlers=[changed])
            try:
                await (await zeroconf.async_register_service(info))
                self._line = "announcing and listening"
                async with asyncio.TaskGroup() as group:
                    for _ in range(MAX_RESOLVING // 4):
                        group.create_task(self._resolve(zeroconf))
                    group.create_task(self._follow_changes(zeroconf, info))
            finally:
                await browser.async_cancel()
        finally:
            await _close(zeroconf)

    def _named(self, name: str, *, is_gone: bool) -> None:
        if is_gone:
            self._goodbye(name)
        elif not self._names.full():
            self._names.put_nowait(name)

    def _take(self, name: str, seen: Advertisement) -> None:
        """Bounded: where there are too many, one without the team's mark gives way to one that bears it."""
        if name not in self._seen and len(self._seen) >= MAX_SEEN:
            loser = next((other for other, one in self._seen.items() if not self._is_marked(one)), None)
            if loser is None or not self._is_marked(seen):
                return
            self._goodbye(loser)
        self._seen[name] = seen
        self._found(seen)

    def _is_marked(self, seen: Advertisement) -> bool:
        return seen.tag != "" and seen.tag == self._tag(bytes.fromhex(seen.id))

    async def _resolve(self, zeroconf: AsyncZeroconf) -> None:
        from zeroconf.asyncio import AsyncServiceInfo

        while True:
            name = await self._names.get()
            if name.startswith(self._id):
                continue
            info = AsyncServiceInfo(SERVICE, name)
            if await info.async_request(zeroconf.zeroconf, RESOLVE_MS):
                seen = read_advertisement(name, info.properties, info.parsed_addresses(), info.port)
                if seen is not None:
                    self._take(name, seen)

    async def _follow_changes(self, zeroconf: AsyncZeroconf, info: AsyncServiceInfo) -> None:
        """zeroconf does not notice new interfaces or addresses by itself; nor does it know our epochs."""
        told: AsyncServiceInfo | None = None
        while True:
            self._refresh.clear()
            told = await self._tell_strangers(zeroconf, told)
            await self._refresh.wait()
            await zeroconf.async_update_interfaces()
            fresh = self._info()
            if (fresh.addresses, fresh.properties) != (info.addresses, info.properties):
                await (await zeroconf.async_update_service(fresh))
                info = fresh

    async def _tell_strangers(
        self, zeroconf: AsyncZeroconf, told: AsyncServiceInfo | None
    ) -> AsyncServiceInfo | None:
        """Announces the relay to everybody, or takes that back; returns what they are told from now on."""
        wanted = self._service(RELAY_SERVICE, {"path": "/"}) if self._is_public() else None
        if told is not None and (wanted is None or wanted.addresses != told.addresses):
            await (await zeroconf.async_unregister_service(told))
            told = None
        if wanted is not None and told is None:
            await (await zeroconf.async_register_service(wanted))
            told = wanted
        self._line = "announcing and listening" + ("; strangers are told of the relay" if told else "")
        return told

    def _info(self) -> AsyncServiceInfo:
        return self._service(SERVICE, make_txt(self._id, self._tag(bytes.fromhex(self._id))))

    def _service(self, kind: str, properties: dict[str, str]) -> AsyncServiceInfo:
        from zeroconf.asyncio import AsyncServiceInfo

        listen = [split_address(address) for address in self._listen()]
        return AsyncServiceInfo(
            kind,
            f"{self._id}.{kind}",
            addresses=[ipaddress.ip_address(host).packed for host, _ in listen if _is_ip(host)],
            port=listen[0][1],
            properties=properties,
            server=f"{self._id}.local.",
        )

    def _goodbye(self, name: str) -> None:
        seen = self._seen.pop(name, None)
        if seen is not None:
            self._lost(seen)


async def _close(zeroconf: AsyncZeroconf) -> None:
    """Sends the goodbye, if that is possible quickly."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await zeroconf.async_unregister_all_services()
            await zeroconf.async_close()
    except (OSError, TimeoutError) as error:
        log.debug("mDNS did not close cleanly: %s", error)


def _words(error: Exception) -> str:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return safe(text or type(error).__name__, 80).lower()


def _only_v4(listen: tuple[str, ...]) -> bool:
    return not any(address.startswith("[") for address in listen)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
