"""The trustless gateway: blocks by their CIDs, one or many, for a client that checks them itself.

Source: specs.ipfs.tech/http-gateways/trustless-gateway and, for what it shares, .../path-gateway. Nothing
is ever opened or put together here: what the team sealed goes out sealed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from meshconsole.content.formats.car import encode_header, encode_section
from meshconsole.content.formats.cid import IDENTITY, RAW, Cid
from meshconsole.content.pathing import PathWalk
from meshconsole.content.scope import ScopeWalk
from meshconsole.core.errors import Refused, RemoteError, Unavailable
from meshconsole.core.filenames import check_name
from meshconsole.edge.messages import RETRY_AFTER_S, HttpError, Reply, listed, matches_etag
from meshconsole.edge.negotiating import Wish, attachment, wish
from meshconsole.edge.ranges import wanted_range

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractContextManager

    from meshconsole.content.happenings import FetchProgress, FetchState
    from meshconsole.edge.messages import Request

IMMUTABLE = "public, max-age=29030400, immutable"
MAX_CID_CHARS = 200
ASIDE_BYTES = 64 * 1024
"""Larger blocks are taken apart in a thread."""
GATHER_BYTES = 256 * 1024
"""Small blocks are sent together."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`fetch_s` is how long teammates may take with what is not here; 0: they are not asked. `refused` are
    multihashes of blocks that are not given out, whatever the store holds."""

    fetch_s: float = 0.0
    refused: frozenset[bytes] = frozenset()


class Blocks(Protocol):
    """What the gateway uses of the content room."""

    async def block(self, cid: Cid) -> bytes | None: ...

    async def has_block(self, cid: Cid) -> bool: ...

    async def is_of_keys(self, cid: Cid) -> bool: ...

    def holding(self, *cids: Cid) -> AbstractContextManager[None]: ...

    def fetch(self, cid: str, *, deadline_s: float, passing: bool) -> AsyncIterator[FetchProgress]: ...

    def job_state(self, cid: str) -> FetchState | None: ...

    async def end_passing(self, cid: str) -> None: ...


class Gateway:
    def __init__(
        self,
        content: Blocks,
        settings: Callable[[], Settings],
        has_peers: Callable[[], bool] = lambda: False,
    ) -> None:
        self._content = content
        self._settings = settings
        self._has_peers = has_peers
        self._waiting: Counter[str] = Counter()
        """Requests that want something below a root which may be on its way here."""

    async def handle(self, request: Request) -> Reply:
        """GET and HEAD of /ipfs/CID and what is below it. Raises HttpError, MeshconsoleError."""
        if request.method not in ("GET", "HEAD"):
            raise HttpError(
                HTTPStatus.METHOD_NOT_ALLOWED,
                "Only GET and HEAD are answered here.",
                (("Allow", "GET, HEAD"),),
            )
        if request.header("service-worker"):
            raise HttpError(HTTPStatus.BAD_REQUEST, "No service worker is served here.")
        _, name, *names = (*request.segments(), "") if request.path == "/ipfs/" else request.segments()
        root = _cid(name)
        wanted = wish(request)
        path = _path(names)
        self._check_refused(root)
        etag = wanted.etag(str(root), "/".join(path))
        headers = self._headers(request, wanted, root, etag)
        if matches_etag(request.header("if-none-match"), etag):
            return Reply(HTTPStatus.NOT_MODIFIED, headers)
        await self._check_open(root)
        await self._be_here(root, only_cached="only-if-cached" in listed(request.header("cache-control")))
        if wanted.format == "raw":
            if path:
                raise HttpError(
                    HTTPStatus.BAD_REQUEST, "A block is asked for by its own CID, without a path."
                )
            return await self._raw(request, root, headers)
        return await self._car(request, wanted, root, path, headers)

    async def _raw(self, request: Request, root: Cid, headers: tuple[tuple[str, str], ...]) -> Reply:
        block = await self._content.block(root)
        if block is None:
            raise _not_found(root)
        headers = (*headers, ("Accept-Ranges", "bytes"), ("X-Ipfs-Roots", str(root)))
        part = wanted_range(request.header("range"), len(block))
        if part is None or request.method == "HEAD":
            return Reply(HTTPStatus.OK, headers, block)
        first, last = part
        told = ("Content-Range", f"bytes {first}-{last}/{len(block)}")
        return Reply(HTTPStatus.PARTIAL_CONTENT, (*headers, told), block[first : last + 1])

    async def _car(
        self,
        request: Request,
        wanted: Wish,
        root: Cid,
        path: tuple[str, ...],
        headers: tuple[tuple[str, str], ...],
    ) -> Reply:
        with self._content.holding(root):
            walk = PathWalk(root, path)
            while (step := walk.wanted) is not None:
                await _aside(walk.feed, step, await self._block(root, step))
            found = walk.found
            self._check_refused(found)
            scope = ScopeWalk(found, wanted.scope, wanted.part, wanted.dups)
            block = await self._block(root, found)
            await _aside(scope.feed, found, block)
            _check_part(wanted, scope)
        roots = ",".join(map(str, walk.roots))
        told = (*headers, ("X-Ipfs-Roots", roots), ("Accept-Ranges", "none"))
        if request.method == "HEAD":
            return Reply(HTTPStatus.OK, told, None)
        return Reply(HTTPStatus.OK, told, self._pieces(root, wanted, walk))

    async def _pieces(self, root: Cid, wanted: Wish, path: PathWalk) -> AsyncIterator[bytes]:
        """The CAR file, small blocks of it together."""
        held = bytearray(encode_header([root]))
        async with self._awaiting(root):
            async for cid, block in self._blocks(root, wanted, path):
                # Blocks that are in their own CID are in the block that links to them already.
                if cid.hash_code != IDENTITY:
                    held += encode_section(cid, block)
                if len(held) >= GATHER_BYTES:
                    yield bytes(held)
                    held.clear()
        yield bytes(held)

    async def _blocks(self, root: Cid, wanted: Wish, path: PathWalk) -> AsyncIterator[tuple[Cid, bytes]]:
        """Walked anew: what was looked at before the head was sent is not kept in memory."""
        scope = ScopeWalk(path.found, wanted.scope, wanted.part, wanted.dups)
        for cid in path.passed:
            scope.seen.add(cid.multihash)
            yield cid, await self._block(root, cid)
        while (following := scope.wanted) is not None:
            self._check_refused(following)
            block = await self._block(root, following)
            await _aside(scope.feed, following, block)
            yield following, block

    async def _block(self, root: Cid, cid: Cid) -> bytes:
        """Raises HttpError(404 | 504)."""
        await self._check_open(cid)
        block = await self._content.block(cid)
        if block is None and await self._bring(root, cid):
            block = await self._content.block(cid)
        if block is None:
            raise _not_found(cid)
        return block

    async def _be_here(self, root: Cid, *, only_cached: bool) -> None:
        if await self._content.has_block(root):
            return
        if only_cached:
            raise HttpError(HTTPStatus.PRECONDITION_FAILED, f"{root} is not here.")
        if not await self._bring(root, root):
            raise _not_found(root)

    async def _bring(self, root: Cid, cid: Cid) -> bool:
        """Fetches the root from teammates until the block is here. False where nobody can be asked.

        Nothing is fetched for longer than a request waits for it, unless somebody else wants it too. Raises
        HttpError(504) when it did not come in time.
        """
        settings = self._settings()
        if not settings.fetch_s or not self._has_peers():
            return False
        if self._content.job_state(str(root)) == "paused":
            return False  # by the owner, who goes on with it
        try:
            async with self._awaiting(root):
                async for _ in self._content.fetch(str(root), deadline_s=settings.fetch_s, passing=True):
                    if await self._content.has_block(cid):
                        return True
        except Unavailable:
            raise HttpError(
                HTTPStatus.GATEWAY_TIMEOUT,
                f"{cid} is not here, and no teammate or libp2p peer gave it in {settings.fetch_s:.0f} s.",
                (("Retry-After", str(RETRY_AFTER_S)),),
            ) from None
        except Refused as error:
            raise HttpError(HTTPStatus.INSUFFICIENT_STORAGE, error.sentence) from None
        return await self._content.has_block(cid)

    @asynccontextmanager
    async def _awaiting(self, root: Cid) -> AsyncIterator[None]:
        """What is being fetched only for this ends when the last of those who wait has gone."""
        cid = str(root)
        self._waiting[cid] += 1
        try:
            with self._content.holding(root):
                yield
        finally:
            self._waiting[cid] -= 1
            if not self._waiting[cid]:
                del self._waiting[cid]
                await self._content.end_passing(cid)

    def _headers(self, request: Request, wanted: Wish, root: Cid, etag: str) -> tuple[tuple[str, str], ...]:
        name = request.parameter("filename") or f"{root}.{'bin' if wanted.format == 'raw' else 'car'}"
        headers = (
            ("Content-Type", wanted.media_type),
            ("Content-Disposition", attachment(name)),
            ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", IMMUTABLE),
            ("Etag", etag),
            ("X-Ipfs-Path", request.path),
            ("Vary", "Accept"),
        )
        return headers if wanted.by_url else (*headers, ("Content-Location", wanted.location(request)))

    async def _check_open(self, cid: Cid) -> None:
        """Raises HttpError(404) for what Nostr keys uploaded: a blob's hash is in its CID, and who may read
        it is for the relay's policies to say, at Blossom's own path. Asked of each block: links to it can be
        made by anybody."""
        if await self._content.is_of_keys(cid):
            raise _not_found(cid)

    def _check_refused(self, cid: Cid) -> None:
        if cid.multihash in self._settings().refused:
            raise HttpError(HTTPStatus.GONE, f"This gateway does not give out {cid} (edge.refused_cids).")


def _cid(text: str) -> Cid:
    """Raises HttpError."""
    if not text or len(text) > MAX_CID_CHARS:
        raise HttpError(HTTPStatus.BAD_REQUEST, "A CID stands behind /ipfs/, of at most 200 characters.")
    cid = Cid.parse(text)
    if not cid.prefix.is_supported:
        raise HttpError(
            HTTPStatus.BAD_REQUEST, f"{cid} uses a hash function (0x{cid.hash_code:x}) that is not supported."
        )
    return cid


def _path(names: list[str]) -> tuple[str, ...]:
    """Raises RemoteError("bad-name"): no directory that is read here can hold such a name."""
    return tuple(check_name(name) for name in names)


def _check_part(wanted: Wish, scope: ScopeWalk) -> None:
    """Of a range that lies behind the end, the client is told at once."""
    if wanted.part_text and scope.size is not None and wanted.part.first >= max(1, scope.size):
        raise HttpError(HTTPStatus.BAD_REQUEST, f"entity-bytes: the file has {scope.size} bytes.")


def _not_found(cid: Cid) -> HttpError:
    return HttpError(HTTPStatus.NOT_FOUND, f"The block {cid} is not here.")


async def _aside(feed: Callable[[bytes], None], cid: Cid, block: bytes) -> None:
    """Raises HttpError(404) where a path leads nowhere."""
    try:
        if cid.codec != RAW and len(block) > ASIDE_BYTES:
            await asyncio.to_thread(feed, block)
        else:
            feed(block)
    except RemoteError as error:
        if error.code == "no-such-path":
            raise HttpError(HTTPStatus.NOT_FOUND, error.sentence) from None
        raise
