"""From a pipe to a carrying link: who is let in, which of two links survives, when a session ends."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import MeshconsoleError, Refused, RemoteError
from meshconsole.core.limits import TokenBucket
from meshconsole.crypto.tls import TlsSession
from meshconsole.mesh.endpoints import is_loopback, join_address
from meshconsole.mesh.happenings import LinkDown, LinkRefused, LinkUp, MeshHappening
from meshconsole.mesh.links.link import Closed, Link
from meshconsole.mesh.messages import PROTOCOL_VERSION, Hello, Signal
from meshconsole.mesh.pairing import LinkFacts, keeps_newer
from meshconsole.mesh.roster import live_device
from meshconsole.mesh.session import PeerSession

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from meshconsole.crypto.tls import LinkCredentials
    from meshconsole.mesh.links.frames import Frame
    from meshconsole.mesh.links.pipe import Meters, Pipe
    from meshconsole.mesh.nursery import Nursery
    from meshconsole.mesh.roster import Device, Roster
    from meshconsole.mesh.surroundings import Surroundings

log = logging.getLogger(__name__)

MAX_HANDSHAKES = 16
MAX_HANDSHAKES_PER_HOST = 4
REMEMBERED_LINKS = 16
NOT_OF_THE_TEAM = "This device is not of the team any more."


class OwnAddress(Refused):
    """This node has dialled itself."""

    def __init__(self) -> None:
        super().__init__("blocked", "This address is this node's own.")


class PeerRecord(msgspec.Struct):
    """What is remembered of a peer while it has no link. Times are in seconds since the epoch."""

    last_heard: float | None = None
    capabilities: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    libp2p: bytes = b""
    last_reason: str = ""
    """Why its last link ended."""
    dropped: deque[bytes] = msgspec.field(default_factory=lambda: deque(maxlen=REMEMBERED_LINKS))


class Self(msgspec.Struct, frozen=True):
    """What this node says of itself in every Hello."""

    npub: str
    key: bytes
    boot: bytes
    capabilities: Callable[[], tuple[str, ...]]
    listen: Callable[[], tuple[str, ...]]
    libp2p: Callable[[], bytes] = bytes


class Links:
    """All links and sessions of this node. `keep_beside` runs with each session, until it ends."""

    def __init__(
        self,
        me: Self,
        credentials: LinkCredentials,
        around: Surroundings,
        *,
        roster: Callable[[], Roster | None],
        meter: Meters,
        emit: Callable[[MeshHappening], None],
        clock: Callable[[], float],
        on_signal: Callable[[PeerSession, Signal], None],
        on_echo: Callable[[PeerSession, Link, bytes], None],
        keep_beside: Callable[[PeerSession], Awaitable[None]],
        on_linked: Callable[[str, Link], None],
        on_unlinked: Callable[[str], None],
    ) -> None:
        self._me = me
        self._credentials = credentials
        self._around = around
        self._roster = roster
        self._meter = meter
        self._emit = emit
        self._clock = clock
        self._on_signal = on_signal
        self._on_echo = on_echo
        self._keep_beside = keep_beside
        self._on_linked = on_linked
        self._on_unlinked = on_unlinked
        self.sessions: dict[str, PeerSession] = {}
        self.records: defaultdict[str, PeerRecord] = defaultdict(PeerRecord)
        self.nursery: Nursery
        """Set before anything is opened."""
        self.silence = ""
        """Why no link may carry anything now; "" if they may."""
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}
        self._handshakes: Counter[str] = Counter()
        self._refusals = TokenBucket(rate=0.2, burst=20)

    @property
    def count(self) -> int:
        return sum(len(session.links) for session in self.sessions.values())

    @property
    def outgoing(self) -> int:
        """Those that did not come in through the server."""
        links = (link for session in self.sessions.values() for link in session.links)
        return sum(1 for link in links if link.dialled or link.pipe.path != "websocket")

    async def inbound(self, pipe: Pipe, host: str) -> None:
        """Somebody has dialled this node: opens the link and carries it to its end."""
        if self._handshakes.total() >= MAX_HANDSHAKES or self._handshakes[host] >= MAX_HANDSHAKES_PER_HOST:
            await pipe.close("Too many handshakes at once.")
            return
        self._handshakes[host] += 1
        try:
            link, device = await self.open(pipe, dialled=False)
        except MeshconsoleError as error:
            # Whoever dialled and then did not want this node is not news here; it may be this very node.
            if not (isinstance(error, RemoteError) and error.code == "refused-by-peer"):
                self._refused(pipe.address, error, dialled=False)
            return
        finally:
            self._handshakes[host] -= 1
            if not self._handshakes[host]:
                del self._handshakes[host]
        await self.carry(link, device)

    async def open(self, pipe: Pipe, *, dialled: bool, only: str = "") -> tuple[Link, Device]:
        """Handshake and Hello; `only` admits no other npub. Raises MeshconsoleError, the pipe closed then."""
        roster = self._roster()
        members = roster.members() if roster is not None else ()
        # Taken here, on the loop: the handshake runs in a thread and must not look into the roster.
        welcome = {m.mldsa_public for m in members if not m.removed and (not only or m.npub == only)}
        welcome.discard(self._me.key)
        shown: list[bytes] = []

        def accept(key: bytes) -> bool:
            shown.append(key)
            return key in welcome

        session = TlsSession(self._credentials, server=not dialled, accept=accept)
        link = Link(
            pipe, session, dialled=dialled, meter=self._meter.of_one(), now=self._around.now, wall=self._clock
        )
        try:
            await link.open(self._hello)
        except RemoteError:
            if self._me.key in shown:
                raise OwnAddress from None
            raise
        return link, self._device(link.peer_key)

    async def carry(self, link: Link, device: Device) -> Closed:
        """Runs an open link to its end."""
        if self.silence:
            link.close(self.silence)
            return await link.run(_ignore)
        self._retire_former(device, link.hello.boot)
        session = self._session(device)
        rival = self._rival(session, link)
        if rival is not None and not keeps_newer(_facts(rival), _facts(link), self._me.npub, device.npub):
            link.close("Another link to this device is kept.")
            return await link.run(_ignore)
        if rival is not None:
            rival.close("A newer link to this device is kept.")
        closed = Closed(False, "The node stops.")
        try:
            await session.add(link)
            self.remember(session)
            log.info("link with %s over %s, %s", device.npub[:8], link.pipe.path, link.address)
            self._emit(LinkUp(device.npub, link.pipe.path, link.address, link.dialled))
            self._on_linked(device.npub, link)
            closed = await link.run(lambda frame: session.handle(link, frame))
        finally:
            self.remember(session)
            await session.remove(link)
            record = self.records[device.npub]
            record.dropped.append(link.id)
            record.last_reason = str(closed)
            if not session.links:
                self._end(session)
            current = self.sessions.get(device.npub)
            if current is None or not current.has_path("websocket"):
                self._on_unlinked(device.npub)
            log.info("link with %s over %s ended: %s", device.npub[:8], link.pipe.path, closed)
            self._emit(LinkDown(device.npub, link.pipe.path, link.address, closed.by_peer, closed.reason))
        return closed

    def recheck(self) -> None:
        """The roster has changed: drops the links of devices that are not of the team any more."""
        roster = self._roster()
        for session in self.sessions.values():
            device = roster.member(session.npub) if roster is not None else None
            if device is None or device.removed:
                session.close(NOT_OF_THE_TEAM)
            elif session.role != device.role:
                # What the old role was not to have was passed over.
                session.role = device.role
                session.doubt()

    def network_changed(self, own: frozenset[str]) -> None:
        """Asks all peers whether they are still heard; what stands on an address that is gone is over."""
        has_moved = any(not is_loopback(join_address(host, 1)) for host in own)
        for session in self.sessions.values():
            for link in session.links:
                if has_moved and link.pipe.own_host and link.pipe.own_host not in own:
                    link.close("This device has another address now.")
                else:
                    link.probe()

    def refused(self, address: str, error: MeshconsoleError) -> None:
        """A dialled address did not want this node, or is not of the team."""
        self._refused(address, error, dialled=True)

    def _hello(self, key: bytes) -> Hello:
        device = self._device(key)
        store = self._around.relay.store
        return Hello(
            PROTOCOL_VERSION,
            self._me.boot,
            store.log_id,
            store.head_seq,
            self._me.capabilities(),
            self._me.listen()[:16],
            self._given_up(device.npub),
            self._me.libp2p(),
        )

    def _given_up(self, npub: str) -> tuple[bytes, ...]:
        """Links to the peer that are lost, or silent and better replaced."""
        session = self.sessions.get(npub)
        silent = [link.id for link in session.links if link.is_suspect] if session is not None else []
        return (*silent, *reversed(self.records[npub].dropped))[:REMEMBERED_LINKS]

    def _device(self, key: bytes) -> Device:
        device = live_device(self._roster(), key)
        if device is None:
            raise Refused("restricted", NOT_OF_THE_TEAM)
        return device

    def _retire_former(self, device: Device, boot: bytes) -> None:
        """A peer that has started anew may have lost what an earlier process of it had, its whole home even:
        nothing that was known of that one may be believed of this one."""
        session = self.sessions.get(device.npub)
        if session is not None and any(link.hello.boot != boot for link in session.links):
            session.retire("The peer has started anew.")
            self._end(session)

    def _session(self, device: Device) -> PeerSession:
        session = self.sessions.get(device.npub)
        if session is None:
            session = PeerSession(
                device.npub,
                device.role,
                self._around,
                self._on_signal,
                self._on_echo,
                asks_stock=self._me.npub < device.npub,
            )
            self.sessions[device.npub] = session
            name = device.npub[:8]
            self._tasks[device.npub] = [
                self.nursery.spawn(f"session {name}", self._run(session)),
                self.nursery.keep(f"data channel {name}", lambda: self._keep_beside(session)),
            ]
        return session

    async def _run(self, session: PeerSession) -> None:
        try:
            await session.run()
        except Exception:
            # A link that nobody serves would look alive for ever.
            session.close("An internal error of the peer.")
            raise

    def _end(self, session: PeerSession) -> None:
        if self.sessions.get(session.npub) is session:
            del self.sessions[session.npub]
            for task in self._tasks.pop(session.npub):
                task.cancel()

    def _rival(self, session: PeerSession, link: Link) -> Link | None:
        same = (o for o in session.links if o.pipe.path == link.pipe.path and o.closed is None)
        return next(same, None)

    def remember(self, session: PeerSession) -> None:
        """Notes what its links say now."""
        record = self.records[session.npub]
        for link in session.links:
            record.capabilities = link.hello.capabilities
            record.addresses = link.hello.listen
            record.libp2p = link.hello.libp2p
            heard = self._clock() - link.silent_s
            record.last_heard = max(heard, record.last_heard or heard)

    def _refused(self, address: str, error: MeshconsoleError, *, dialled: bool) -> None:
        log.info("no link with %s: %s", address, error.sentence)
        # Whoever knocks all the time must not fill the audit log.
        if self._refusals.try_take(1, self._around.now()):
            self._emit(LinkRefused(address, dialled, error.sentence))


def _facts(link: Link) -> LinkFacts:
    return LinkFacts(link.id, link.dialled, link.hello.boot, (*link.hello.dropped, *link.said.dropped))


async def _ignore(_frame: Frame) -> None:
    return None
