"""The relay's door: one TCP port for Nostr clients, NIP-11, and the routes that other rooms hang in.

A client's messages go through its `Session`; what the session wants to send is gathered for a loop
tick and written at once. Bandwidth is paid before it is used, and a connection that does not take
what it is sent stops being read.
"""

from __future__ import annotations

import asyncio
import errno
import time
from functools import partial
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Response

from meshconsole import __version__
from meshconsole.core.errors import Fatal
from meshconsole.core.sections import LimitsSection
from meshconsole.core.verdict import ACCEPTED
from meshconsole.relay import nip11
from meshconsole.relay.client import WRITE_BYTES, ClientPort, Meters
from meshconsole.relay.connection import LINGER_S, ClientConnection
from meshconsole.relay.deflate import DEFLATE
from meshconsole.relay.frames import Framing
from meshconsole.relay.gatekeeper import Gatekeeper
from meshconsole.relay.listening import EVERYWHERE, listeners
from meshconsole.relay.muting import mute, unmute
from meshconsole.relay.names import host_of, names_this_machine, path_of
from meshconsole.relay.postdesk import Opening, PostDesk
from meshconsole.relay.proxies import client_address, networks
from meshconsole.relay.session import max_message_bytes

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
    from ssl import SSLContext

    from websockets.extensions import ServerExtensionFactory
    from websockets.http11 import Request

    from meshconsole.core.status import RelayStatus
    from meshconsole.core.verdict import Verdict
    from meshconsole.relay.http_auth import HttpRequest
    from meshconsole.relay.places import Place
    from meshconsole.relay.postdesk import Answer
    from meshconsole.relay.relay import Relay


TLS_HANDSHAKE_S = 10.0
LOOP_TURNS = 5
"""As many as asyncio takes from an accepted socket to its connection."""


class RelayServer:
    """`routes` are paths that get the raw connection, e.g. "/mesh"; every other path is Nostr.

    `admit(kind, remote_ip)` is asked for each WebSocket; kind is "client" or the route's name.
    `hosts` are names and addresses of this relay that the machine itself does not know (tunnels,
    forwarded ports); logins (NIP-42) may name them. `manage` answers POST (NIP-86). `tls` is a second
    host and port, for wss://. `clock` is monotonic.
    """

    def __init__(
        self,
        relay: Relay,
        *,
        host: str,
        port: int,
        routes: Mapping[str, Callable[[ServerConnection], Awaitable[None]]] | None = None,
        admit: Callable[[str, str], Verdict] | None = None,
        meter: Meters | None = None,
        name: str = "meshconsole",
        npub: str = "",
        hosts: Callable[[], Collection[str]] = tuple,
        manage: Callable[[HttpRequest, Callable[[str], bool]], Awaitable[Answer]] | None = None,
        limits: LimitsSection | None = None,
        tls: tuple[str, int, SSLContext] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._relay = relay
        self._host = host
        self._port = port
        self._routes = dict(routes or {})
        self._meter = meter
        self._name = name
        self._npub = npub
        self._hosts = hosts
        self._is_managed = manage is not None
        self._desk = PostDesk(manage, self._is_own_url, self._is_relay)
        self.gate = Gatekeeper(relay, limits or LimitsSection(), admit, clock)
        self._servers: list[Server] = []
        self._extensions: list[ServerExtensionFactory] = []
        """The library looks at it at each handshake."""
        self.apply(limits or LimitsSection())
        self._framing = Framing()
        self._tls = tls
        self.addresses: tuple[str, ...] = ()
        """ "host:port" of each listening socket."""
        self.tls_addresses: tuple[str, ...] = ()
        """ "host:port" of each socket for wss://."""

    async def start(self) -> None:
        """Raises Fatal when a port cannot be taken."""
        self._servers = await self._listen(self._host, self._port, None)
        self.addresses = _names(self._servers)
        if self._tls is not None:
            try:
                encrypted = await self._listen(*self._tls)
            except Fatal:
                while self._servers:
                    self._servers.pop().close()
                raise
            self._servers += encrypted
            self.tls_addresses = _names(encrypted)
        self._relay.address = self.addresses[0] if self.addresses else ""
        self._relay.ports = tuple(socket.getsockname()[1] for socket in self._sockets())
        self.gate.start()

    async def _listen(self, host: str, port: int, tls: SSLContext | None) -> list[Server]:
        try:
            if host not in EVERYWHERE:
                return [await self._serve_at(tls, host=host, port=port)]
            return [await self._serve_at(tls, sock=listener) for listener in listeners(port)]
        except OSError as error:
            raise _cannot_listen(host, port, error) from error

    async def _serve_at(self, tls: SSLContext | None, **where: Any) -> Server:  # noqa: ANN401 - asyncio's own
        return await serve(
            self._handle,
            **where,
            ssl=tls,
            ssl_handshake_timeout=None if tls is None else TLS_HANDSHAKE_S,
            process_request=self._answer,
            create_connection=self._connection,  # type: ignore[arg-type] # a maker does as well
            ping_interval=None,  # the gatekeeper does it, without a task for each
            extensions=self._extensions,
            compression=None,  # the owner's choice, made by `_extensions`
            max_size=self._max_frame,
            write_limit=2 * WRITE_BYTES,
            close_timeout=1,  # a client that does not answer must not hold up the stop
            open_timeout=None,  # the gatekeeper keeps the time
            server_header=f"meshconsole/{__version__}",
        )

    def _sockets(self) -> list[socket.socket]:
        return [listener for server in self._servers for listener in server.sockets]

    def _connections(self) -> list[ServerConnection]:
        return [connection for server in self._servers for connection in server.connections]

    def _connection(self, *arguments: object, **named: object) -> ClientConnection:
        made = ClientConnection(
            *arguments, gate=self.gate, opening=Opening(self._desk), framing=self._framing, **named
        )
        made.protocol.max_message_size = self._max_frame
        return made

    @property
    def _max_frame(self) -> int:
        """What is a little too long gets an answer before it is too long for the library."""
        return 2 * max_message_bytes(self._relay.config)

    def _fit_frames(self) -> None:
        """To what events may be by now."""
        for connection in self._connections():
            connection.protocol.max_message_size = self._max_frame

    async def stop(self) -> None:
        if not self._servers:
            return
        # asyncio drops, and never closes, a connection that it accepted in the turn before Server.close().
        loop = asyncio.get_running_loop()
        for listener in self._sockets():
            loop.remove_reader(listener)
        await _turns()  # in which what was just accepted becomes a connection
        for server in self._servers:
            server.close()
        await self.gate.stop()
        loop.call_later(LINGER_S, self.gate.hurry)
        await self._desk.stop()
        for server in self._servers:
            await server.wait_closed()
        await _turns()  # in which the loop closes the sockets that were let go

    def silence(self, *, on: bool) -> bool:
        """While it is on, other machines get no answer at all. False where the system cannot do that: then
        whoever knocks is sent away, which is an answer. Whoever is connected is let go."""
        listeners = self._sockets()
        if not on:
            for listener in listeners:
                unmute(listener)
            return True
        muted = [mute(listener) for listener in listeners]
        for connection in self._connections():
            is_client = isinstance(connection, ClientConnection) and connection.is_client
            if is_client and not _is_this_machine(remote_ip(connection)):
                connection.transport.close()
        return all(muted)

    def apply(self, limits: LimitsSection) -> None:
        """New limits, for open connections too; whether messages are compressed, for the next ones."""
        self.gate.apply(limits)
        self.gate.trusted = networks(self._relay.config.trusted_proxies)
        self._extensions[:] = [DEFLATE] if self._relay.config.compression == "on" else []
        self._fit_frames()

    def status(self, addresses: Sequence[str]) -> RelayStatus:
        """The relay's own, with what only its door knows."""
        return self._relay.status(addresses, handshakes=self.gate.places.handshakes, slow=self.gate.slow())

    def expel_clients(self, sentence: str) -> None:
        """All of them, wherever they are; links and other routes stay."""
        for connection in self._connections():
            if isinstance(connection, ClientConnection) and connection.is_client:
                connection.expel(sentence)

    def recheck(self) -> None:
        """Addresses may have been blocked, keys have lost their rights: such clients are let go. The team's
        rules may be others."""
        self._fit_frames()
        self.gate.expel_former()
        lists = self._relay.house.lists()
        for connection in self._connections():
            if isinstance(connection, ClientConnection) and connection.is_client:
                verdict = lists.judge_ip(remote_ip(connection))
                if not verdict.accepted:
                    connection.expel(verdict.message)

    @property
    def connections(self) -> int:
        """Open WebSockets of every kind."""
        return sum(len(server.connections) for server in self._servers)

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        response = self._before_upgrade(connection, request)
        if response is not None and request.method == "HEAD":
            response.body = b""  # RFC 9110 section 9.3.2
        return response

    def _before_upgrade(self, connection: ServerConnection, request: Request) -> Response | None:
        passed = self._passed_on(connection, request)
        if not passed.accepted:
            body = f"{passed.sentence}\n".encode()
            return _response(HTTPStatus.TOO_MANY_REQUESTS, "text/plain", body)
        path = _path(request.path)
        if path not in self._routes and not self._is_relay(path):
            return _response(HTTPStatus.NOT_FOUND, "text/plain", b"The relay is at the path / here.\n")
        if request.method not in ("GET", "HEAD"):
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", b"Ask by GET or POST.\n")
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return self._plain_http(request)
        kind = self._kind(request)
        client = connection if kind == "client" and isinstance(connection, ClientConnection) else None
        if client is not None and client.is_hasty:
            return _response(HTTPStatus.BAD_REQUEST, "text/plain", b"Wait for the answer to the handshake.\n")
        verdict = self.gate.may_enter(kind, remote_ip(connection))
        if not verdict.accepted:
            body = f"{verdict.sentence}\n".encode()
            return _response(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", body)
        if isinstance(connection, ClientConnection):
            self.gate.enter(connection, kind)
        if client is not None:
            client.is_client = True
        return None

    def _passed_on(self, connection: ServerConnection, request: Request) -> Verdict:
        """Whose it is, if a trusted proxy says so, and whether there is a place for it."""
        forwarded = request.headers.get_all("X-Forwarded-For")
        if not forwarded or not isinstance(connection, ClientConnection):
            return ACCEPTED
        peer = remote_ip(connection)
        address = client_address(peer, forwarded, self.gate.trusted)
        return ACCEPTED if address == peer else self.gate.passed_on(connection, address)

    def _plain_http(self, request: Request) -> Response:
        if nip11.wants_document(",".join(request.headers.get_all("Accept"))):
            body = nip11.document(self._relay.config, self._face(), public=self._relay.access.public())
            return _response(HTTPStatus.OK, nip11.MEDIA_TYPE, body)
        text = "This is a Nostr relay of a meshconsole node. Point a Nostr client at it.\n"
        return _response(HTTPStatus.UPGRADE_REQUIRED, "text/plain", text.encode())

    def _face(self) -> nip11.Face:
        house = self._relay.house
        lists = house.lists()
        return nip11.Face(
            lists.name or self._name,
            lists.description,
            lists.icon,
            self._npub,
            house.npub,
            self._is_managed,
            bool(lists.allowed_kinds),
        )

    def _is_relay(self, path: str) -> bool:
        """One endpoint, since no path makes a difference (NIP-01), and the paths of the relay's other URLs:
        a proxy may leave them in."""
        return path == "/" or path in map(path_of, self._relay.config.urls)

    def _kind(self, request: Request | None) -> str:
        path = _path(request.path) if request is not None else "/"
        return path.strip("/") if path in self._routes else "client"

    async def _handle(self, connection: ServerConnection) -> None:
        kind = self._kind(connection.request)
        if kind != "client":
            await self._routes[f"/{kind}"](connection)
        elif isinstance(connection, ClientConnection) and connection.place is not None:
            await self._serve(connection, connection.place)

    async def _serve(self, connection: ClientConnection, place: Place) -> None:
        port = ClientPort(
            self._relay,
            connection,
            meter=None if self._meter is None else self._meter.of_one(),
            via=f"client {remote_ip(connection)}",
            network=place.network,
            is_own_url=partial(self._is_own_url, connection),
        )
        self.gate.attend(place, port)
        try:
            await port.run()
        finally:
            self.gate.forget(place)

    def _is_own_url(self, connection: ServerConnection, url: str) -> bool:
        local = connection.local_address
        reached_at = (str(local[0]),) if local else ()
        named = filter(None, map(host_of, self._relay.config.urls))
        return names_this_machine(url, (*self._hosts(), *reached_at, *named))


async def _turns() -> None:
    """Lets what is already queued on the loop happen."""
    for _ in range(LOOP_TURNS):
        await asyncio.sleep(0)


def _names(servers: Sequence[Server]) -> tuple[str, ...]:
    names = (listener.getsockname() for server in servers for listener in server.sockets)
    return tuple(_host_port(*name[:2]) for name in names)


def remote_ip(connection: ServerConnection) -> str:
    """ "" when the connection is gone already."""
    address = connection.remote_address
    return str(address[0]) if address else ""


def _is_this_machine(ip: str) -> bool:
    try:
        address = ip_address(ip)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if address.version == 6 else None
    return (mapped or address).is_loopback


def _path(target: str) -> str:
    return target.partition("?")[0] or "/"


def _response(status: HTTPStatus, media_type: str, body: bytes) -> Response:
    headers = Headers(
        (
            ("Content-Type", media_type),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
            *nip11.CORS,
        )
    )
    return Response(status.value, status.phrase, headers, body)


def _cannot_listen(host: str, port: int, error: OSError) -> Fatal:
    where = _host_port(host or "*", port)
    if error.errno == errno.EADDRINUSE:
        return Fatal(
            f"Cannot listen on {where}: another program uses this port.",
            hint="Stop it, or set node.listen to another port; port 0 takes a free one.",
        )
    if error.errno == errno.EACCES:
        return Fatal(
            f"Cannot listen on {where}: this user may not use that port.",
            hint="Set node.listen to a port above 1023.",
        )
    return Fatal(f"Cannot listen on {where}: {error.strerror or error}.", hint="Check node.listen.")


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
