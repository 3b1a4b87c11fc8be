"""aiortc, made fit for a network without internet. The only module that imports it.

aiortc 1.16 and aioice 0.13 are imported when the first data channel is wanted. Every change to their inner
parts is made here, checked to exist before it is made, and held by a contract test:

- PyAV is not installed: a stub stands for it, so that the media code can be imported and never used.
- Candidates are gathered for GATHER_S at most, not 5 s: a server may have died since it was asked.
- Consent to send is checked every second and given up after three failures of three tries each, some 13 s.
  As it comes each check has one try of half a second, which no satellite link ever passes.
- SCTP's first and least retransmission timeouts come down from 3 s and 1 s, which a LAN never needs.
- The congestion window is capped: without it 10,000 messages overflow the socket's buffer by half.
- A peer that sends one endless message is cut off; aiortc would collect it in memory.
- While others wait for the interpreter, packets are handled for a share of the time only (`courtesy.py`).
- All connections of a day show one certificate and share one TLS context, and none makes keys for media: a
  connection takes 119 kB instead of 168. Who the peer is shows inside, in the link's own TLS. As DTLS shows
  a certificate to whoever listens, there is a new one in each network.
- Loopback addresses are candidates when the machine has no others, or when the peer is on it.

And whoever makes a connection gives it `iceServers`: the default asks a public server and waits 5 s for it.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import sys
import threading
import time
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from meshconsole.core.errors import Fatal, LocalError
from meshconsole.mesh.links.courtesy import COURTESY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiortc import RTCDataChannel as RTCDataChannel
    from aiortc import RTCPeerConnection as RTCPeerConnection

log = logging.getLogger(__name__)

CWND_BYTES = 128 * 1024
PARTIAL_BYTES = 320 * 1024
"""Of messages that are not whole yet: the largest message aiortc allows, and what may be in flight."""
WAITING_PACKETS = 2048
"""Received and not handled: beyond it nobody is waited for, lest a peer fills the memory."""
GATHER_S = 2.5
CONSENT_INTERVAL_S = 1
CONSENT_FAILURES = 3
CONSENT_TRIES = 3
RTO_INITIAL_S = 1.0
RTO_MIN_S = 0.2
DAY_S = 86_400
"""aiortc's certificates are good for thirty."""
_loading = threading.Lock()
use_loopback: contextvars.ContextVar[bool] = contextvars.ContextVar("use_loopback", default=False)


def load_aiortc() -> ModuleType:
    """Imports aiortc and changes what must be changed. Raises Fatal if a part is not as expected.

    May be called in threads: the first channels to two peers may be made at the same moment.
    """
    with _loading:
        return _loaded()


@lru_cache(maxsize=1)
def _loaded() -> ModuleType:
    stub_av()
    import aioice.ice
    import aiortc
    import aiortc.rtcdtlstransport
    import aiortc.rtcpeerconnection
    import aiortc.rtcsctptransport

    _set(aioice.ice, "CONSENT_INTERVAL", CONSENT_INTERVAL_S)
    _set(aioice.ice, "CONSENT_FAILURES", CONSENT_FAILURES)
    _set(aiortc.rtcsctptransport, "SCTP_RTO_INITIAL", RTO_INITIAL_S)
    _set(aiortc.rtcsctptransport, "SCTP_RTO_MIN", RTO_MIN_S)
    _set(aiortc.rtcpeerconnection, "RTCSctpTransport", _guarded_sctp(aiortc.rtcsctptransport))
    _set(aioice.ice, "get_host_addresses", _with_loopback(aioice.ice))
    _gather_quickly(aioice.ice)
    _ask_consent_again(aioice.ice)
    _share_certificate(aiortc.rtcdtlstransport)
    _set(aiortc.rtcdtlstransport.RTCDtlsTransport, "_setup_srtp", _no_media)
    return aiortc


def _gather_quickly(ice: ModuleType) -> None:
    connection = _part(ice, "Connection")
    gather: Callable[..., Awaitable[list[Any]]] = _part(connection, "get_component_candidates")
    if "timeout" not in inspect.signature(gather).parameters:
        raise Fatal("This version of aioice gathers candidates in another way.", hint=_VERSIONS)

    async def get_component_candidates(self: object, component: int, addresses: list[str]) -> list[Any]:
        return await gather(self, component=component, addresses=addresses, timeout=GATHER_S)

    connection.get_component_candidates = get_component_candidates


def _ask_consent_again(ice: ModuleType) -> None:
    """A consent check is the only request that is made without a retransmission."""
    protocol = _part(ice, "StunProtocol")
    original: Callable[..., Awaitable[Any]] = _part(protocol, "request")
    if "retransmissions" not in inspect.signature(original).parameters:
        raise Fatal("This version of aioice asks for consent in another way.", hint=_VERSIONS)

    async def request(self: object, *arguments: object, **named: object) -> Any:  # noqa: ANN401 - aioice's own
        if named.get("retransmissions") == 0:
            named["retransmissions"] = CONSENT_TRIES - 1
        return await original(self, *arguments, **named)

    protocol.request = request


class _Networks:
    count = 0


def network_changed() -> None:
    """Connections that are made from now on show another certificate."""
    _Networks.count += 1


def _share_certificate(dtls: ModuleType) -> None:
    certificate = _part(dtls, "RTCCertificate")
    generate: Callable[[], Any] = _part(certificate, "generateCertificate")
    create: Callable[..., Any] = _part(certificate, "_create_ssl_context")
    ssl = _part(dtls, "SSL")

    @lru_cache(maxsize=1)
    def of(_day: int, _network: int) -> Any:  # noqa: ANN401 - aiortc's own
        return generate()

    @lru_cache(maxsize=1)
    def context_of(own: object, profiles: tuple[Any, ...]) -> Any:  # noqa: ANN401 - pyOpenSSL's
        context = create(own, srtp_profiles=list(profiles))
        context.set_session_cache_mode(ssl.SESS_CACHE_OFF)  # no connection goes on with another's session
        context.set_mode(ssl.MODE_RELEASE_BUFFERS)
        return context

    certificate.generateCertificate = staticmethod(
        lambda: of(int(time.monotonic() // DAY_S), _Networks.count)
    )
    certificate._create_ssl_context = lambda self, srtp_profiles: context_of(self, tuple(srtp_profiles))


def _no_media(_transport: object) -> None:
    """Instead of two SRTP sessions for each connection."""


def _with_loopback(ice: ModuleType) -> Callable[[bool, bool], list[str]]:
    original: Callable[..., list[str]] = _part(ice, "get_host_addresses")

    def get_host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        found = original(use_ipv4=use_ipv4, use_ipv6=use_ipv6)
        if use_ipv4 and (not found or use_loopback.get()):
            found.append("127.0.0.1")
        return found

    return get_host_addresses


def _guarded_sctp(module: ModuleType) -> type:
    base: Any = _part(module, "RTCSctpTransport")
    for name in ("_handle_data", "_receive_sack_chunk", "_receive_data_chunk", "_abort"):
        _part(base, name)

    class GuardedSctp(base):  # type: ignore[misc]
        """With a ceiling for the congestion window, one for messages that never end, and courtesy."""

        def __init__(self, *arguments: object, **named: object) -> None:
            super().__init__(*arguments, **named)
            self._full_window: int = _part(self, "_advertised_rwnd")
            _part(self, "_cwnd")

        def _packets_waiting(self) -> int:
            ice = _part(_part(_part(self, "transport"), "transport"), "_connection")
            return int(_part(ice, "_queue").qsize())

        async def _handle_data(self, data: bytes) -> None:
            """Each packet, and what is sent because of it."""
            pause = COURTESY.pause(time.monotonic())
            if pause and self._packets_waiting() < WAITING_PACKETS:
                await asyncio.sleep(pause)
            began = time.monotonic()
            await super()._handle_data(data)
            now = time.monotonic()
            COURTESY.worked(now - began, now)

        async def _receive_sack_chunk(self, chunk: object) -> None:
            await super()._receive_sack_chunk(chunk)
            self._cwnd: int = min(self._cwnd, CWND_BYTES)

        async def _receive_data_chunk(self, chunk: object) -> None:
            await super()._receive_data_chunk(chunk)
            if self._full_window - self._advertised_rwnd > PARTIAL_BYTES:
                log.warning("a data channel was ended: its peer sends messages without end")
                await self._abort()

    return GuardedSctp


_VERSIONS = "Install the versions of meshconsole's lock file: aiortc 1.16, aioice 0.13."


def is_relayed(connection: RTCPeerConnection) -> bool:
    """Whether its packets go through a TURN server, of either side."""
    ice = _part(_part(_part(connection.sctp, "transport"), "transport"), "_connection")
    pairs = _part(ice, "_nominated").values()
    return any("relay" in (pair.local_candidate.type, pair.remote_candidate.type) for pair in pairs)


def _part(owner: object, name: str) -> Any:  # noqa: ANN401 - parts of a library, of any type
    """An inner part that must exist."""
    if not hasattr(owner, name):
        where = getattr(owner, "__name__", type(owner).__name__)
        raise Fatal(
            f"This version of aiortc or aioice has no {where}.{name}.",
            hint=_VERSIONS,
        )
    return getattr(owner, name)


def _set(owner: ModuleType | type, name: str, value: object) -> None:
    _part(owner, name)
    setattr(owner, name, value)


class _Absent:
    """Stands for every class of PyAV."""

    def __init__(self, *_arguments: object, **_named: object) -> None:
        raise LocalError("Media is not part of meshconsole: PyAV is replaced by a stub.")


class _AvStub(ModuleType):
    __path__: list[str] = []  # noqa: RUF012 - what makes a module a package

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent


_AV_MODULES = (
    "av",
    "av.audio",
    "av.frame",
    "av.packet",
    "av.video",
    "av.video.codeccontext",
    "av.video.frame",
)


def stub_av() -> None:
    """Saves 17 MB of memory and 104 MB of disk, and does not bring x264 into the image."""
    if "av" in sys.modules:
        return
    for name in _AV_MODULES:
        module = _AvStub(name)
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
