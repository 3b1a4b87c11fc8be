"""Joining a team: the conversation behind "/join", both sides.

B, who joins, dials A, who made the invite. Inside TLS, whose ML-DSA keys are not known to the roster yet:

    A → B  Introduce(A's key bundle)          B checks it against the hash in the invite and A's TLS key
    B → A  Ask(name, B's key bundle, proof)   A checks it against B's TLS key, and redeems the invite
    A → B  Welcome(control events) ... or Sorry(code, sentence)

The invite's secret is never sent: the proof is an HMAC under it over this session's TLS exporter and the
joining device's bundle, so it is worth nothing on any other connection or for any other device. Each
connection is one attempt, ATTEMPT_S long, with every message bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from meshconsole.core.errors import MeshconsoleError, Refused, RemoteError, Unavailable
from meshconsole.core.event import Event, decode_event, encode_event
from meshconsole.core.limits import TokenBucket
from meshconsole.core.text import safe
from meshconsole.crypto.bundle import KeyBundle, open_bundle
from meshconsole.crypto.suites import SUITES, Suite
from meshconsole.crypto.tls import TlsSession
from meshconsole.mesh.happenings import JoinAnswered
from meshconsole.mesh.links.frames import Channel, FrameDecoder, FrameQueue, Precedence
from meshconsole.mesh.links.secure import SecurePipe
from meshconsole.mesh.links.websocket import dial
from meshconsole.mesh.messages import MALFORMED
from meshconsole.mesh.roster import live_device
from meshconsole.mesh.trying import tried
from meshconsole.team.invites import proof

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from meshconsole.core.verdict import Verdict
    from meshconsole.crypto.identity import Identity
    from meshconsole.crypto.tls import LinkCredentials
    from meshconsole.mesh.links.pipe import Meter, Pipe
    from meshconsole.mesh.roster import Membership
    from meshconsole.relay.relay import Relay
    from meshconsole.team.invites import Invite

log = logging.getLogger(__name__)

ATTEMPT_S = 30.0
"""For a connection, and for what is said on it: a slow device takes ten for the handshakes alone."""
JOIN_S = 90.0
FAREWELL_S = 0.5
EXPORTER_LABEL = b"EXPORTER-meshconsole-join"
MAX_BUNDLE = 32 * 1024
MAX_EVENT = 256 * 1024
MAX_WELCOME = 16 * 1024 * 1024
MAX_EVENTS = 50_000
BATCH_BYTES = 256 * 1024
MAX_AT_ONCE = 8
EXPECTS_NOBODY = "This device has no invite out."
PROPOSED = "proposed"
"""The code of a refusal that another admin may end."""
SECOND_ADMIN = (
    "A second admin must agree before this device is let in; it has been proposed. After that use the same "
    "invite again, or a new one if it has expired."
)

EventBytes = Annotated[bytes, Meta(max_length=MAX_EVENT)]


class _Word(msgspec.Struct, frozen=True, array_like=True):
    pass


class Introduce(_Word, frozen=True, tag="introduce"):
    bundle: Annotated[bytes, Meta(max_length=MAX_BUNDLE)]


class Ask(_Word, frozen=True, tag="ask"):
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    bundle: Annotated[bytes, Meta(max_length=MAX_BUNDLE)]
    proof: Annotated[bytes, Meta(min_length=32, max_length=32)]


class Welcome(_Word, frozen=True, tag="welcome"):
    """Some of the team's control events; `more` of them follow."""

    events: Annotated[tuple[EventBytes, ...], Meta(max_length=4096)]
    more: bool


class Sorry(_Word, frozen=True, tag="sorry"):
    """`code` is a NIP-01 prefix or `PROPOSED`; the sentence is for the person who joins."""

    code: Annotated[str, Meta(max_length=20)]
    sentence: Annotated[str, Meta(max_length=300)]


_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Introduce | Ask | Welcome | Sorry] = msgspec.msgpack.Decoder(
    Introduce | Ask | Welcome | Sorry
)


def decode_word(payload: bytes) -> Introduce | Ask | Welcome | Sorry:
    """Raises RemoteError."""
    try:
        return _decoder.decode(payload)
    except MALFORMED as error:
        found = safe(str(error), 120)
        raise RemoteError("bad-message", f"The other device sent a malformed message: {found}") from None


class _Conversation:
    """Words over TLS over a pipe."""

    def __init__(self, pipe: Pipe, credentials: LinkCredentials, meter: Meter, *, server: bool) -> None:
        # Any key may shake hands here: who it is, the bundles and the proof decide.
        self.session = TlsSession(credentials, server=server, accept=lambda _key: True)
        self._secure = SecurePipe(pipe, self.session, meter)
        self._decoder = FrameDecoder()
        self._words: list[Introduce | Ask | Welcome | Sorry] = []

    async def shake_hands(self) -> bytes:
        """Returns the exporter of this very session."""
        await self._secure.shake_hands()
        return self.session.export(EXPORTER_LABEL)

    async def say(self, word: Introduce | Ask | Welcome | Sorry) -> None:
        queue = self._framed(word)
        while queue:
            await self._secure.send(queue.take())

    async def hear(self) -> Introduce | Ask | Welcome | Sorry:
        while not self._words:
            frames = self._decoder.receive(await self._secure.receive())
            self._words.extend(decode_word(frame.payload) for frame in frames)
        return self._words.pop(0)

    async def end(self, word: Sorry | None = None) -> None:
        """Never raises."""
        last = self._framed(word).take() if word is not None and self.session.established else b""
        await self._secure.farewell(last, FAREWELL_S)
        await self._secure.pipe.close("")

    @staticmethod
    def _framed(word: Introduce | Ask | Welcome | Sorry) -> FrameQueue:
        queue = FrameQueue()
        queue.put(Channel.EVENTS, Precedence.ROUTINE, _encode(word))
        return queue


class Doorkeeper:
    """A's side: answers those who knock while an invite is out."""

    def __init__(
        self,
        identity: Identity,
        credentials: LinkCredentials,
        membership: Membership,
        relay: Relay,
        *,
        meter: Meter,
        emit: Callable[[JoinAnswered], None],
        joined: Callable[[], None],
        clock: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self._identity = identity
        self._credentials = credentials
        self._membership = membership
        self._relay = relay
        self._meter = meter
        self._emit = emit
        self._joined = joined
        self._clock = clock
        self._now = now
        self._at_once = 0
        self._admitting = asyncio.Lock()
        self._all = TokenBucket(rate=0.5, burst=20)
        self._hosts: defaultdict[str, TokenBucket] = defaultdict(lambda: TokenBucket(rate=0.1, burst=6))

    async def answer(self, pipe: Pipe, host: str) -> None:
        """One attempt, from the first byte to the last. Raises nothing."""
        refusal = self._door(host)
        if refusal:
            await pipe.close(refusal)
            return
        self._at_once += 1
        talk = _Conversation(pipe, self._credentials, self._meter, server=True)
        asked = ["", ""]
        sorry: Sorry | None = None
        try:
            async with asyncio.timeout(ATTEMPT_S):
                sentence = await self._talk(talk, asked)
        except Refused as error:
            sentence, sorry = error.sentence, Sorry(error.code[:20], error.sentence[:300])
        except TimeoutError:
            sentence = f"The joining device took more than {ATTEMPT_S:.0f} s."
            sorry = Sorry("error", sentence)
        except MeshconsoleError as error:
            sentence = error.sentence
            sorry = Sorry("invalid" if isinstance(error, RemoteError) else "error", sentence[:300])
        else:
            self._emit(JoinAnswered(pipe.address, asked[0], asked[1], True, sentence))
        finally:
            self._at_once -= 1
        if sorry is not None:
            log.info("%s was not let in: %s", pipe.address, sentence)
            self._emit(JoinAnswered(pipe.address, asked[0], asked[1], False, sentence))
        await talk.end(sorry)

    def _door(self, host: str) -> str:
        """Why nobody, or not this host, may knock now; "" if it may."""
        if self._membership.team is None or not self._membership.book.expects_anybody(int(self._clock())):
            return EXPECTS_NOBODY
        now = self._now()
        if len(self._hosts) > 1000:
            self._hosts.clear()
        if self._at_once >= MAX_AT_ONCE or self._hosts[host].delay(now) or self._all.delay(now):
            return "Too many attempts to join; wait a minute and try again."
        self._hosts[host].take(1, now)
        self._all.take(1, now)
        return ""

    async def _talk(self, talk: _Conversation, asked: list[str]) -> str:
        exporter = await talk.shake_hands()
        bundle_event = await asyncio.to_thread(self._identity.bundle_event, int(self._clock()))
        await talk.say(Introduce(encode_event(bundle_event)))
        ask = await talk.hear()
        if not isinstance(ask, Ask):
            raise RemoteError("bad-message", "The joining device did not ask to join.")
        name = safe(ask.name, 64).strip()
        asked[1] = name
        bundle, event = await _open(ask.bundle, self._identity)
        asked[0] = bundle.npub
        if bundle.mldsa_public != talk.session.peer_mldsa_public:
            raise Refused("invalid", "The key bundle is not that of the device that sent it.")
        if not name:
            raise Refused("invalid", "The joining device has no name.")
        events = await self._admit(ask.proof, exporter, bundle, event, name)
        await _say_welcome(talk, events)
        return f"{name} has joined."

    async def _admit(
        self, given: bytes, exporter: bytes, bundle: KeyBundle, event: Event, name: str
    ) -> list[Event]:
        """Redeems, admits, stores; in this order, one device at a time."""
        async with self._admitting:
            team, book = self._membership.team, self._membership.book
            if team is None:
                raise Refused("restricted", EXPECTS_NOBODY)
            now = int(self._clock())
            redeemed = book.redeem(given, exporter, bundle.hash, bundle.npub, now)
            if not redeemed.verdict.accepted or redeemed.role is None:
                raise Refused(redeemed.verdict.code, redeemed.verdict.sentence)
            await asyncio.to_thread(self._membership.save_book)
            # A device whose first answer was lost on the way comes again, and gets its grant again.
            admission = team.admit(
                event, name, redeemed.role, now, redeemed.replaces or None, redeemed.person or None
            )
            await self._store(admission)
            if live_device(team, bundle.mldsa_public) is None:
                raise Refused(PROPOSED, SECOND_ADMIN)
            self._joined()
            return list({known.id: known for known in (*team.control_events(), *admission)}.values())

    async def _store(self, events: list[Event]) -> None:
        for verdict in await self._relay.publish_many(events, via="local", trusted=True):
            if not verdict.accepted and verdict.code != "duplicate":
                raise Unavailable(f"The admission could not be stored: {verdict.sentence}.")


async def _say_welcome(talk: _Conversation, events: list[Event]) -> None:
    batch: list[bytes] = []
    size = 0
    for event in events:
        raw = encode_event(event)
        if batch and size + len(raw) > BATCH_BYTES:
            await talk.say(Welcome(tuple(batch), more=True))
            batch, size = [], 0
        batch.append(raw)
        size += len(raw)
    await talk.say(Welcome(tuple(batch), more=False))


async def join(
    invite: Invite,
    name: str,
    identity: Identity,
    credentials: LinkCredentials,
    *,
    meter: Meter,
    admit: Callable[[str, str], Verdict],
    now: int,
    connect: Callable[[str], Awaitable[Pipe]] = lambda address: dial(address, "/join", within_s=ATTEMPT_S),
) -> list[Event]:
    """B's side: asks at the addresses of the invite, for JOIN_S at most. Returns the team's control events.

    They are as the other device sent them: `Team.load` judges them. Raises Refused with the other
    device's own sentence; Unavailable, naming each address and what came of it, if none lets in.
    """
    if not invite.addresses:
        raise Refused("invalid", "The invite names no address.", hint="Ask for one made with --address.")
    bundle_event = await asyncio.to_thread(identity.bundle_event, now)
    troubles: list[str] = []

    async def reach(address: str) -> Pipe:
        verdict = admit("join", address.rpartition(":")[0])
        if not verdict.accepted:
            raise Refused(verdict.code, verdict.sentence)
        return await connect(address)

    async def ask(address: str, attempt: asyncio.Task[Pipe]) -> list[Event] | None:
        try:
            talk = _Conversation(attempt.result(), credentials, meter, server=False)
            try:
                async with asyncio.timeout(ATTEMPT_S):
                    return await _ask(talk, invite, name, identity, bundle_event)
            finally:
                await talk.end()
        except TimeoutError:
            troubles.append(f"{address} did not answer within {ATTEMPT_S:.0f} s.")
        except (RemoteError, Unavailable) as error:
            sentence = error.sentence
            if isinstance(error, RemoteError) and error.code == "not-post-quantum":
                sentence = f"{sentence} {_other_suite(identity.suite)}"
            troubles.append(sentence if address in sentence else f"{address}: {sentence}")
        return None

    try:
        async with asyncio.timeout(JOIN_S), contextlib.aclosing(tried(invite.addresses, reach)) as found:
            async for address, attempt in found:
                events = await ask(address, attempt)
                if events is not None:
                    return events
    except TimeoutError:
        troubles.append(f"This device gave up after {JOIN_S:.0f} s.")
    raise Unavailable(
        "No address of the invite let this device in.\n" + "\n".join(f"  {line}" for line in troubles),
        hint="Check that the inviting device is on, in the same network, and that its invite is still open.",
    )


def _other_suite(mine: Suite) -> str:
    """A team's suite is not in its invites, and a handshake says no more than that it failed."""
    others = " or ".join(f"meshconsole init --suite {suite.name}" for suite in SUITES if suite != mine)
    return f"This device's suite is {mine.name}; if the team has another one, make a new home: {others}"


async def _ask(
    talk: _Conversation, invite: Invite, name: str, identity: Identity, bundle_event: Event
) -> list[Event]:
    exporter = await talk.shake_hands()
    introduced = await talk.hear()
    if isinstance(introduced, Sorry):
        raise Refused(introduced.code, safe(introduced.sentence, 300))
    if not isinstance(introduced, Introduce):
        raise RemoteError("bad-message", "The other device did not introduce itself.")
    bundle, _ = await _open(introduced.bundle, identity)
    if bundle.hash != invite.admin_bundle_hash or bundle.mldsa_public != talk.session.peer_mldsa_public:
        raise RemoteError("wrong-device", "This is not the device that made the invite.")
    given = proof(invite.secret, exporter, identity.bundle_hash)
    await talk.say(Ask(name, encode_event(bundle_event), given))
    events: list[Event] = []
    size = 0
    while True:
        word = await talk.hear()
        if isinstance(word, Sorry):
            raise Refused(word.code, safe(word.sentence, 300))
        if not isinstance(word, Welcome):
            raise RemoteError("bad-message", "The other device answered with something else.")
        size += sum(len(raw) for raw in word.events)
        if size > MAX_WELCOME or len(events) + len(word.events) > MAX_EVENTS:
            raise RemoteError("too-big", "The other device sent more than any team needs.")
        events.extend(_decode(raw) for raw in word.events)
        if not word.more:
            return events


async def _open(raw: bytes, identity: Identity) -> tuple[KeyBundle, Event]:
    """Verifies a bundle off the loop: two signatures."""
    event = _decode(raw)
    return await asyncio.to_thread(open_bundle, event, identity.provider), event


def _decode(raw: bytes) -> Event:
    try:
        return decode_event(raw)
    except MALFORMED:
        raise RemoteError("bad-message", "The other device sent something that is no event.") from None
