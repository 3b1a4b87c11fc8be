"""Blossom: blobs by their SHA-256, for Nostr clients. Sources: BUD-01, 02, 06, 08, 09, 11, 12.

A blob is a file of the content store, pinned by the keys that uploaded it. One that fits into a block is
that block, and its hash is in its CID; for larger ones the book knows which file has which hash. Who may
read and write here is what the relay's policies say of the same keys.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from meshconsole.content.store.roots import BLOSSOM
from meshconsole.core import kinds
from meshconsole.core.errors import MeshconsoleError, Refused
from meshconsole.edge.blossom_auth import check_token, hashes_of, read_token
from meshconsole.edge.book import Blob
from meshconsole.edge.messages import HttpError, Reply, json, matches_etag, text
from meshconsole.edge.ranges import wanted_range
from meshconsole.relay.event import is_protected, read_event
from meshconsole.relay.policy import Client, may_ask, may_offer
from meshconsole.relay.verify import has_valid_signature

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from meshconsole.content.service import Content
    from meshconsole.core.event import Event
    from meshconsole.core.verdict import Verdict
    from meshconsole.edge.blossom_auth import Verb
    from meshconsole.edge.book import Book
    from meshconsole.edge.messages import Request
    from meshconsole.relay.policy import House

UNKNOWN = "application/octet-stream"
MAX_LIST = 1000
MAX_REPORT_BYTES = 64 * 1024
_is_hash = re.compile(r"[0-9a-f]{64}").fullmatch
_blob_path = re.compile(r"/([0-9a-f]{64})(?:\.[0-9A-Za-z]{1,16})?").fullmatch
_is_type = re.compile(
    r"[!#$&^_.+0-9A-Za-z-]{1,64}/[!#$&^_.+0-9A-Za-z-]{1,64}(; ?[\x20-\x7e]{0,64})?"
).fullmatch
_PATHS = ("/upload", "/mirror", "/media", "/report")


@dataclass(frozen=True, slots=True)
class Rights:
    """What the owner allows beside the relay's policies: `key_bytes` for each key, 0 for no limit but the
    storage's own; `room` is what may still be written."""

    key_bytes: int
    room: int


class Blossom:
    def __init__(
        self,
        content: Content,
        book: Book,
        *,
        house: House,
        rights: Callable[[], Rights],
        may_manage: Callable[[str], bool],
        is_us: Callable[[str], bool],
        publish: Callable[[Event], Awaitable[Verdict]],
        clock: Callable[[], float],
        asks: Callable[[Request], bool] = lambda request: False,
        is_refused: Callable[[str], bool] = lambda cid: False,
    ) -> None:
        """`is_us` says whether a host is this server; `clock` gives seconds since the epoch. `publish` takes
        an event as from a client that is logged in with its key. `asks` says of which requests a key is
        wanted also where the relay lets everybody read, `is_refused` which CIDs the owner gives nobody."""
        self._content = content
        self._book = book
        self._house = house
        self._rights = rights
        self._may_manage = may_manage
        self._is_us = is_us
        self._publish = publish
        self._clock = clock
        self._asks = asks
        self._is_refused = is_refused
        self._under_way = UnderWay()

    @staticmethod
    def is_path(path: str) -> bool:
        return path in _PATHS or path.startswith("/list/") or _blob_path(path) is not None

    async def tidy(self) -> None:
        """After a crash between the two: pins of uploads that the book does not know are lifted."""
        known = await asyncio.to_thread(self._book.blob_pins)
        for root in self._content.roots():
            for pin in root.pins:
                if pin.owner.startswith(BLOSSOM) and (root.cid, pin.owner.removeprefix(BLOSSOM)) not in known:
                    await self._content.unpin(root.cid, pin.owner)

    async def handle(self, request: Request) -> Reply:
        """Raises HttpError, MeshconsoleError."""
        blob = _blob_path(request.path)
        match request.method, request.path:
            case "GET" | "HEAD", _ if blob:
                return await self._get(request, blob[1])
            case "DELETE", _ if blob:
                return await self._delete(request, blob[1])
            case "PUT", "/upload":
                return await self._upload(request)
            case "HEAD", "/upload":
                return await self._would_upload(request)
            case "PUT", "/report":
                return await self._report(request)
            case "GET", path if path.startswith("/list/"):
                return await self._list(request, path.removeprefix("/list/"))
            case _, "/mirror" | "/media":
                raise HttpError(HTTPStatus.NOT_IMPLEMENTED, "This server fetches and changes nothing itself.")
        raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED, "Blobs are not served by this method here.")

    # Reading

    async def _get(self, request: Request, digest: str) -> Reply:
        self._check(may_ask, self._proven(request, "get", digest))
        blob = await asyncio.to_thread(self._book.blob, digest)
        if blob is None:
            raise HttpError(HTTPStatus.NOT_FOUND, "There is no such blob here.")
        if self._is_refused(blob.cid):
            raise HttpError(HTTPStatus.GONE, "This blob is not given out here (edge.refused_cids).")
        if not self._content.presence(blob.cid).complete:
            raise HttpError(HTTPStatus.NOT_FOUND, "This blob was damaged on the disk. Upload it again.")
        kept = "public" if self._house.access.public() else "private"
        etag = f'"{digest}"'
        headers = (
            ("Content-Type", blob.type),
            ("Accept-Ranges", "bytes"),
            ("Etag", etag),
            ("Cache-Control", f"{kept}, max-age=31536000, immutable"),
            # Whatever was uploaded: a page of somebody else must not act as one of this server.
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", "sandbox; default-src 'none'"),
        )
        if matches_etag(request.header("if-none-match"), etag):
            return Reply(HTTPStatus.NOT_MODIFIED, headers)
        part = wanted_range(request.header("range"), blob.size) if request.method == "GET" else None
        if part is None:
            return Reply(HTTPStatus.OK, headers, self._content.read(blob.cid), blob.size)
        first, last = part
        told = ("Content-Range", f"bytes {first}-{last}/{blob.size}")
        body = self._content.read(blob.cid, first, last)
        return Reply(HTTPStatus.PARTIAL_CONTENT, (*headers, told), body, last + 1 - first)

    async def _list(self, request: Request, owner: str) -> Reply:
        if _is_hash(owner) is None:
            raise HttpError(HTTPStatus.BAD_REQUEST, "A key of 64 hex digits stands behind /list/.")
        npub = self._proven(request, "list")
        self._check(may_ask, npub)
        if not (self._house.access.public() or npub == owner or self._may_manage(npub)):
            raise HttpError(HTTPStatus.FORBIDDEN, "Whoever uploaded blobs may list them, and admins.")
        cursor = request.parameter("cursor")
        if cursor and _is_hash(cursor) is None:
            raise HttpError(HTTPStatus.BAD_REQUEST, "The cursor is the SHA-256 of a blob.")
        found = await asyncio.to_thread(
            self._book.blobs_of,
            owner,
            since=_number(request, "since", 0),
            until=_number(request, "until", 1 << 62),
            cursor=cursor,
            limit=min(MAX_LIST, _number(request, "limit", MAX_LIST)),
        )
        return json([self._descriptor(request, blob) for blob in found])

    # Writing

    async def _would_upload(self, request: Request) -> Reply:
        """BUD-06."""
        digest = request.header("x-sha-256")
        length = request.header("x-content-length")
        if _is_hash(digest) is None:
            raise HttpError(HTTPStatus.BAD_REQUEST, "X-SHA-256 is 64 lowercase hex digits.")
        if not length:
            raise HttpError(HTTPStatus.LENGTH_REQUIRED, "X-Content-Length is missing.")
        if not (length.isascii() and length.isdecimal() and len(length) < 16):
            raise HttpError(HTTPStatus.BAD_REQUEST, "X-Content-Length is a number of bytes.")
        npub = self._proven(request, "upload", digest, x_required=True)
        self._check(may_offer, npub)
        await self._allowance(npub, int(length))
        return Reply(HTTPStatus.OK, (), b"")

    async def _upload(self, request: Request) -> Reply:
        claimed = request.header("x-sha-256")
        if claimed and _is_hash(claimed) is None:
            raise HttpError(HTTPStatus.BAD_REQUEST, "X-SHA-256 is 64 lowercase hex digits.")
        token = self._token(request, "upload", claimed, x_required=True)
        assert token is not None
        npub = token.pubkey
        self._check(may_offer, npub)
        announced = request.length or 0
        left = await self._allowance(npub, announced)
        with self._under_way.counting(npub, announced, left) as check_size:
            upload = Upload(request.body, check_size, claimed, hashes_of(token))
            return await self._take(request, npub, upload)

    async def _take(self, request: Request, npub: str, upload: Upload) -> Reply:
        owner = BLOSSOM + npub
        try:
            added = await self._content.add(upload.pieces(), "", owner=owner)
        except Refused as error:
            raise HttpError(HTTPStatus.INSUFFICIENT_STORAGE, error.sentence) from None
        blob = Blob(upload.digest, added.cid, upload.size, _media_type(request), int(self._clock()))
        try:
            is_new = await asyncio.to_thread(self._book.put_blob, blob, npub, self._rights().key_bytes)
        except MeshconsoleError as error:
            await self._content.let_go(added.cid, owner)  # nobody could ever find it
            if isinstance(error, Refused):
                raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, error.sentence) from None
            raise
        stored = await asyncio.to_thread(self._book.blob, upload.digest)
        status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
        return json(self._descriptor(request, stored or blob), status)

    async def _delete(self, request: Request, digest: str) -> Reply:
        npub = self._proven(request, "delete", digest, x_required=True)
        self._check(may_offer, npub)
        blob = await asyncio.to_thread(self._book.blob, digest)
        owners = await asyncio.to_thread(self._book.owners, digest)
        if blob is None:
            raise HttpError(HTTPStatus.NOT_FOUND, "There is no such blob here.")
        if npub not in owners and not self._may_manage(npub):
            raise HttpError(HTTPStatus.FORBIDDEN, "Whoever uploaded this blob may delete it, and admins.")
        for owner in [npub] if npub in owners else owners:
            await asyncio.to_thread(self._book.drop_blob, digest, owner)
            await self._content.let_go(blob.cid, BLOSSOM + owner)
        return Reply(HTTPStatus.NO_CONTENT)

    async def _report(self, request: Request) -> Reply:
        """BUD-09: a report is an event like any other, and admins look for those in the relay."""
        body = bytearray()
        async for piece in request.body:
            body += piece
            if len(body) > MAX_REPORT_BYTES:
                raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "A report is an event, and short.")
        read = read_event(bytes(body), MAX_REPORT_BYTES)
        if read.event.kind != kinds.REPORT or not has_valid_signature(read):
            raise HttpError(HTTPStatus.BAD_REQUEST, "A report is a signed event of kind 1984.")
        if is_protected(read.event):  # whoever has seen it could bring it here: nobody logs in (NIP-70)
            raise Refused("restricted", "publish this report at the relay itself, logged in with its key")
        self._check(may_offer, read.event.pubkey)
        verdict = await self._publish(read.event)
        if not verdict.accepted:
            raise Refused(verdict.code, verdict.sentence)
        return text(HTTPStatus.OK, "The report is with the relay's admins.")

    # Who asks

    def _proven(self, request: Request, verb: Verb, digest: str = "", *, x_required: bool = False) -> str:
        """The key that allows it, "" where none is shown and none is asked for."""
        token = self._token(request, verb, digest, x_required=x_required)
        return token.pubkey if token is not None else ""

    def _token(self, request: Request, verb: Verb, digest: str, *, x_required: bool) -> Event | None:
        header = request.header("authorization")
        if not header and verb in ("get", "list") and not self._asks(request):
            return None
        token = read_token(header)
        check_token(token, verb, self._clock(), self._is_us, digest, x_required=x_required)
        return token

    def _check(self, policy: Callable[[Client], Verdict], npub: str) -> None:
        verdict = policy(Client(self._house, (npub,) if npub else ()))
        if not verdict.accepted:
            raise Refused(verdict.code, verdict.sentence)

    async def _allowance(self, npub: str, wanted: int) -> int:
        """How many bytes this key may upload now; `wanted` are those that it says it will. Raises
        HttpError."""
        rights = self._rights()
        if wanted > rights.room:
            raise HttpError(HTTPStatus.INSUFFICIENT_STORAGE, f"There is room for {rights.room} bytes here.")
        if not rights.key_bytes:
            return 1 << 62
        left = rights.key_bytes - await asyncio.to_thread(self._book.bytes_of, npub)
        left -= self._under_way.bytes_of(npub)
        if wanted > left:
            raise too_large(max(0, left))
        return left

    def _descriptor(self, request: Request, blob: Blob) -> dict[str, Any]:
        """BUD-02, with the tags of BUD-08 and the CID."""
        from mimetypes import guess_extension  # only here: it reads the system's tables

        extension = guess_extension(blob.type.partition(";")[0]) or ".bin"
        url = f"{request.base}/{blob.sha256}{extension}"
        tags = [["url", url], ["m", blob.type], ["x", blob.sha256], ["ox", blob.sha256]]
        return {
            "url": url,
            "sha256": blob.sha256,
            "size": blob.size,
            "type": blob.type,
            "uploaded": blob.uploaded,
            "ipfs": blob.cid,
            "nip94": [*tags, ["size", str(blob.size)]],
        }


class UnderWay:
    """Bytes of uploads that have begun and are in no book yet, by key: those that it announced, or more."""

    def __init__(self) -> None:
        self._bytes: Counter[str] = Counter()

    def bytes_of(self, npub: str) -> int:
        return self._bytes[npub]

    @contextmanager
    def counting(self, npub: str, announced: int, left: int) -> Iterator[Callable[[int], None]]:
        """An upload that has begun, and what is to be told its size as it grows. `left` is what its key may
        upload beside what is under way already."""
        most = left + self.bytes_of(npub)
        counted = announced
        self._bytes[npub] += counted

        def check_size(size: int) -> None:
            nonlocal counted
            more = max(0, size - counted)
            if self._bytes[npub] + more > most:
                raise too_large(max(0, most - self._bytes[npub] + counted))
            counted += more
            self._bytes[npub] += more

        try:
            yield check_size
        finally:
            self._bytes[npub] -= counted
            if not self._bytes[npub]:
                del self._bytes[npub]


class Upload:
    """A body on its way in. It ends with an error unless it is what the token allows, so that nothing of it
    is kept then."""

    def __init__(
        self, body: AsyncIterator[bytes], check_size: Callable[[int], None], claimed: str, allowed: list[str]
    ) -> None:
        """`check_size` raises HttpError for one that is too large."""
        self._body = body
        self._check_size = check_size
        self._claimed = claimed
        self._allowed = allowed
        self.size = 0
        self.digest = ""

    async def pieces(self) -> AsyncIterator[bytes]:
        """Raises HttpError."""
        running = sha256()
        async for piece in self._body:
            self.size += len(piece)
            self._check_size(self.size)
            running.update(piece)
            yield piece
        self.digest = running.hexdigest()
        if self._claimed and self._claimed != self.digest:
            raise HttpError(HTTPStatus.CONFLICT, "The body does not have the SHA-256 of X-SHA-256.")
        if self.digest not in self._allowed:
            raise HttpError(HTTPStatus.CONFLICT, "The body is not the blob that the x tag names.")


def too_large(most: int) -> HttpError:
    return HttpError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"This key may upload {most} bytes more here (edge.key_mb)."
    )


def _media_type(request: Request) -> str:
    told = request.header("content-type")
    return told if _is_type(told) else UNKNOWN


def _number(request: Request, name: str, default: int) -> int:
    value = request.parameter(name)
    if not value:
        return default
    if not (value.isascii() and value.isdecimal() and len(value) < 16):
        raise HttpError(HTTPStatus.BAD_REQUEST, f"{name} is a number.")
    return int(value)
