"""A Blossom server over a real content store, and what Nostr clients say to it."""

from __future__ import annotations

import base64
import hashlib
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from meshconsole.core.errors import MeshconsoleError
from meshconsole.core.event import encode_event
from meshconsole.core.verdict import ACCEPTED
from meshconsole.edge.blossom import Blossom, Rights
from meshconsole.edge.book import Book
from meshconsole.edge.messages import HttpError, Request, as_http
from meshconsole.edge.tables import Tables
from meshconsole.relay.policy import House
from tests.content.conftest import KEY, World
from tests.relay.making import Members, npub, signed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from meshconsole.content.service import Content
    from meshconsole.core.event import Event
    from meshconsole.core.verdict import Verdict
    from meshconsole.edge.blossom_auth import Verb
    from meshconsole.relay.policy import Access


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def data(self) -> Any:  # noqa: ANN401 - any JSON
        return msgspec.json.decode(self.body)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class BlossomSite:
    world: World
    content: Content
    book: Book
    blossom: Blossom
    rights: list[Rights]
    reports: list[Event] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)

    def allow(
        self,
        verb: Verb | str,
        *hashes: str,
        who: str = "alice",
        more: tuple[tuple[str, ...], ...] = (),
        kind: int = 24242,
        created: float = 0,
        expires: str | None = "60",
    ) -> str:
        """The value of the Authorization header; times are relative to the clock's."""
        now = int(self.world.clock.now)
        tags = [("t", verb), *(("x", each) for each in hashes), *more]
        if expires is not None:
            tags.append(("expiration", str(now + int(expires)) if expires.lstrip("-").isdigit() else expires))
        event = signed(who, kind, tuple(tags), "Do it", int(now + created))
        return "Nostr " + base64.urlsafe_b64encode(encode_event(event)).decode().rstrip("=")

    async def ask(
        self, method: str, target: str, body: Sequence[bytes] = (), auth: str = "", **headers: str
    ) -> Answer:
        path, _, query = target.partition("?")
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        if auth:
            told["authorization"] = auth
        request = Request(method, path, query, told, _stream(body), "127.0.0.1", "http://files.example")
        try:
            reply = await self.blossom.handle(request)
        except HttpError as error:
            return Answer(error.status, dict(error.headers), error.sentence.encode())
        except MeshconsoleError as error:
            return Answer(as_http(error).status, {}, error.sentence.encode())
        given = reply.body
        if given is not None and not isinstance(given, bytes):
            given = b"".join([piece async for piece in given])
        return Answer(reply.status, dict(reply.headers), given or b"")

    async def upload(self, data: bytes, who: str = "alice", **headers: str) -> Answer:
        pieces = [data[at : at + 100_000] for at in range(0, len(data), 100_000)]
        auth = self.allow("upload", digest(data), who=who)
        return await self.ask("PUT", "/upload", pieces, auth, **headers)

    async def publish(self, event: Event) -> Verdict:
        self.reports.append(event)
        return ACCEPTED


async def _stream(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@asynccontextmanager
async def blossom_site(world: World, access: Access | None = None) -> AsyncIterator[BlossomSite]:
    world.path.parent.mkdir(exist_ok=True)
    members = access or Members({npub("alice"), npub("bob")})
    tables = Tables(world.path.parent / "node.db", KEY)
    book = Book(tables)
    rights = [Rights(0, 1 << 40)]
    try:
        async with world.content() as content:
            site: BlossomSite
            blossom = Blossom(
                content,
                book,
                house=House(members),
                rights=lambda: rights[0],
                may_manage=lambda key: key == npub("root"),
                is_us=lambda server: server.removeprefix("https://").rstrip("/") == "files.example",
                publish=lambda event: site.publish(event),
                clock=world.clock,
                is_refused=lambda cid: cid in site.refused,
            )
            site = BlossomSite(world, content, book, blossom, rights)
            yield site
    finally:
        tables.close()
