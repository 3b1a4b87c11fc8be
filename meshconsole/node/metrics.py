"""Figures for a monitor: the node's status in Prometheus' text format (0.0.4), over HTTP on loopback.

Off unless `metrics.listen` names an address. Nobody is asked who he is, so nothing but loopback is
listened on, and neither keys, addresses nor names are told: only counts.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from typing import TYPE_CHECKING

from meshconsole.core.errors import Fatal
from meshconsole.core.health import BY_CODE
from meshconsole.node.limits.degrading import STEPS
from meshconsole.node.listen import split_listen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from meshconsole.core.status import NodeStatus

MAX_CONNECTIONS = 8
MAX_HEAD_BYTES = 8192
REQUEST_S = 5.0
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render(status: NodeStatus) -> str:
    """Pure."""
    return "".join(_lines(status))


def _lines(status: NodeStatus) -> Iterator[str]:
    relay, limits, storage = status.relay, status.limits, status.storage
    yield from _one("uptime_seconds", "gauge", "Since the node started.", status.now - status.started)
    yield from _one("connections", "gauge", "Clients and links.", limits.connections)
    yield from _one("connections_allowed", "gauge", "limits.max_connections.", limits.max_connections)
    yield from _one("memory_bytes", "gauge", "Resident memory.", limits.memory_bytes)
    yield from _one("cpu_percent", "gauge", "Of one processor.", limits.cpu_percent)
    yield from _one("storage_bytes", "gauge", "Events and files on the disk.", storage.used_bytes)
    yield from _one("storage_allowed_bytes", "gauge", "limits.max_storage_mb.", storage.quota_bytes)
    yield from _one("disk_free_bytes", "gauge", "Free on the home's disk.", storage.disk_free_bytes)
    if storage.disk_free_files is not None:
        yield from _one("disk_free_files", "gauge", "Files the disk has room for.", storage.disk_free_files)
    yield from _one("blocks_stored", "gauge", "Blocks of files held.", storage.blocks_count)
    evicted, evicted_bytes = storage.evicted_blocks, storage.evicted_bytes
    yield from _one("blocks_evicted_total", "counter", "Unpinned blocks removed to make room.", evicted)
    yield from _one("blocks_evicted_bytes_total", "counter", "Bytes of these on the disk.", evicted_bytes)
    handed_on, handed_on_bytes = storage.handed_on_blocks, storage.handed_on_bytes
    yield from _one("blocks_passed_on_total", "counter", "Blocks between other devices.", handed_on)
    yield from _one("blocks_passed_on_bytes_total", "counter", "Bytes of these.", handed_on_bytes)
    yield from _one("events_stored", "gauge", "Events held.", storage.events_count)
    up = sum(peer.state == "up" for peer in status.peers)
    yield from _one("peers_up", "gauge", "Devices of the team that are linked.", up)
    yield from _one("relay_clients", "gauge", "Nostr clients.", relay.clients)
    yield from _one("relay_strangers", "gauge", "Clients that have not logged in.", relay.strangers)
    yield from _one("relay_handshakes", "gauge", "Unfinished handshakes.", relay.handshakes)
    yield from _one("relay_subscriptions", "gauge", "Open subscriptions.", relay.subscriptions)
    yield from _one("relay_filters", "gauge", "Filters of open subscriptions.", relay.filters)
    yield from _one("relay_slow_clients", "gauge", "Clients that do not read now.", len(relay.slow))
    yield from _one("relay_events_in_total", "counter", "Events taken in.", relay.events_in)
    yield from _one("relay_events_out_total", "counter", "Events given out.", relay.events_out)
    yield from _one("relay_requests_total", "counter", "Questions asked.", relay.requests)
    yield from _one("relay_bytes_in_total", "counter", "Bytes from clients.", relay.bytes_in)
    yield from _one("relay_bytes_out_total", "counter", "Bytes to clients.", relay.bytes_out)
    yield from _one("relay_queries_cut_total", "counter", "Queries that took too long.", relay.queries_cut)
    yield from _one("relay_slow_closed_total", "counter", "Ended because unread.", relay.slow_closed)
    if (libp2p := status.libp2p) is not None:
        connected = sum(peer.connected for peer in libp2p.peers)
        yield from _one("libp2p_peers", "gauge", "Other IPFS programs that are connected.", connected)
        yield from _many(
            "libp2p_refused_total", "counter", "Refused at libp2p's door.", "reason", libp2p.refused
        )
    kinds = {str(kind.kind) if kind.kind >= 0 else "other": kind.count for kind in relay.kinds}
    yield from _many("relay_kind_events_total", "counter", "Events of the busiest kinds.", "kind", kinds)
    if status.edge is not None:
        yield from _one("edge_connections", "gauge", "At the HTTP edge.", status.edge.connections)
        parts = {part.name: part.requests for part in status.edge.parts}
        yield from _many("edge_requests_total", "counter", "To the HTTP edge, by part.", "part", parts)
    standing = Counter(dict.fromkeys(BY_CODE, 0))
    standing.update(item.code for item in status.health)
    yield from _many("health", "gauge", "What is wrong now: how many of each code.", "code", standing)
    steps = {str(step.name): int(step.name in limits.steps) for step in STEPS}
    yield from _many("degraded", "gauge", "What is given up now, by step.", "step", steps)
    yield from _many("refused_total", "counter", "Refusals by reason.", "reason", limits.refusals)


def _one(name: str, kind: str, told: str, value: float) -> Iterable[str]:
    return (_head(name, kind, told), f"meshconsole_{name} {_number(value)}\n")


def _many(name: str, kind: str, told: str, label: str, values: Mapping[str, float]) -> Iterable[str]:
    rows = (f'meshconsole_{name}{{{label}="{_escape(key)}"}} {_number(v)}\n' for key, v in values.items())
    return (_head(name, kind, told), *rows)


def _head(name: str, kind: str, told: str) -> str:
    return f"# HELP meshconsole_{name} {told}\n# TYPE meshconsole_{name} {kind}\n"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _escape(text: str) -> str:
    shown = "".join(char if char.isprintable() else "?" for char in text)
    return shown.replace("\\", "\\\\").replace('"', '\\"')


class MetricsServer:
    """`status` gives what is told, at each request."""

    def __init__(self, listen: str, status: Callable[[], NodeStatus]) -> None:
        self._host, self._port = split_listen(listen)
        self._status = status
        self._server: asyncio.Server | None = None
        self._open = 0

    @property
    def port(self) -> int:
        return int(self._server.sockets[0].getsockname()[1]) if self._server is not None else 0

    async def start(self) -> None:
        """Raises Fatal."""
        if not _is_loopback(self._host):
            raise Fatal(
                f"metrics.listen may only be an address of this machine, not {self._host or 'all of them'}.",
                hint="Set it to 127.0.0.1:9107, and let the monitor reach it through a tunnel.",
                exit_code=2,
            )
        try:
            self._server = await asyncio.start_server(
                self._serve, self._host, self._port, limit=MAX_HEAD_BYTES
            )
        except OSError as error:
            raise Fatal(
                f"metrics.listen: cannot listen on {self._host}:{self._port}: {error.strerror}."
            ) from error

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            async with asyncio.timeout(REQUEST_S):
                if self._open <= MAX_CONNECTIONS:
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._answer(head))
                    await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            return  # not a monitor
        finally:
            self._open -= 1
            writer.close()

    def _answer(self, head: bytes) -> bytes:
        wanted = head.split(b"\r\n", 1)[0].split(b" ")[:2]
        if wanted not in ([b"GET", b"/metrics"], [b"GET", b"/"]):
            return _response("404 Not Found", "The figures are at /metrics.\n")
        return _response("200 OK", render(self._status()))


def _response(status: str, text: str) -> bytes:
    body = text.encode()
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    ).encode() + body


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
