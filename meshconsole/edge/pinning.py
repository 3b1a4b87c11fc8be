"""The pinning service API 1.0.0: others have this node keep what they name, and ask how far it is.

Source: ipfs.github.io/pinning-services-api-spec. A token sees its own pins and no others. What is pinned is
fetched by the jobs that fetch everything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from meshconsole.content.formats.cid import CODECS, Cid
from meshconsole.content.store.roots import PINNING, Pin
from meshconsole.core.errors import MeshconsoleError, RemoteError
from meshconsole.edge.messages import HttpError, Reply, json
from meshconsole.edge.pin_book import PinRequest
from meshconsole.edge.tokens import bearer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from meshconsole.content.service import Content
    from meshconsole.edge.messages import Request
    from meshconsole.edge.pin_book import PinBook

Status = Literal["queued", "pinning", "pinned", "failed"]
Text = Annotated[str, Meta(max_length=255)]
Word = Annotated[str, Meta(max_length=1024)]

MAX_BODY_BYTES = 64 * 1024
MAX_PINS = 10_000
"""Of one token."""
MAX_RESULTS = 1000
LOOK_S = 1.0
"""How often the sizes of pins that are on their way are looked at."""
LIMIT_AGAIN_S = 60.0
"""And whether there is a limit."""
_is_id = re.compile(r"[0-9a-f]{32}").fullmatch


class PinBody(msgspec.Struct, frozen=True):
    """`null` stands for what is left out: some clients write it."""

    cid: Annotated[str, Meta(max_length=200)]
    name: Text | None = None
    origins: Annotated[list[Word], Meta(max_length=20)] | None = None
    meta: Annotated[dict[Text, Word], Meta(max_length=1000)] | None = None


class Pinning:
    def __init__(
        self,
        content: Content,
        book: PinBook,
        *,
        name_of: Callable[[str], str],
        delegates: Callable[[], list[str]],
        owner_bytes: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        """`name_of` says whose token a text is, "" for nobody's, and may block; `delegates` are addresses
        of this node as libp2p writes them; `owner_bytes` is what one token may have here, 0 for no limit."""
        self._content = content
        self._book = book
        self._name_of = name_of
        self._delegates = delegates
        self._owner_bytes = owner_bytes
        self._clock = clock
        self._unfinished: set[tuple[str, str]] = set()
        """Owner and CID of pins that were not whole when last seen, or are new."""
        self._over: dict[tuple[str, str], str] = {}
        """Why pins of those who asked for too much were lifted, since the start."""
        self._news = asyncio.Event()

    async def handle(self, request: Request) -> Reply:
        """What is below /pins. Errors have the form that this API gives them."""
        try:
            return await self._handle(request)
        except HttpError as error:
            return _failure(error)
        except RemoteError as error:
            return _failure(HttpError(HTTPStatus.BAD_REQUEST, error.sentence))

    async def _handle(self, request: Request) -> Reply:
        owner = await asyncio.to_thread(self._name_of, bearer(request.header("authorization")))
        if not owner:
            raise HttpError(
                HTTPStatus.UNAUTHORIZED,
                "A token is needed. Its owner makes one by: meshconsole edge token NAME",
            )
        parts = request.segments()[1:]
        if not parts:
            match request.method:
                case "GET" | "HEAD":
                    return await self._list(owner, request)
                case "POST":
                    return await self._put(owner, request, secrets.token_hex(16))
            raise _wrong_method()
        if len(parts) > 1 or _is_id(parts[0]) is None:
            raise _not_found()
        known = await asyncio.to_thread(self._book.get, owner, parts[0])
        if known is None:
            raise _not_found()
        match request.method:
            case "GET" | "HEAD":
                return json(self._told(known))
            case "POST":
                reply = await self._put(owner, request, known.id)
                await self._let_go_of(known)
                return reply
            case "DELETE":
                await self._drop(known)
                return Reply(HTTPStatus.ACCEPTED)
        raise _wrong_method()

    async def revoke(self, owner: str) -> int:
        """Lets go of everything that a token has pinned. Returns how many requests there were."""
        requests = await asyncio.to_thread(self._book.all, owner)
        for request in requests:
            await self._drop(request)
        return len(requests)

    def status_of(self, cid: str, owner: str) -> tuple[Status, str]:
        """And why, where it failed."""
        if (owner, cid) in self._over:
            return "failed", self._over[owner, cid]
        if self._content.presence(cid).complete:
            return "pinned", ""
        if not self._content.is_pinned(cid, PINNING + owner):
            return (
                "failed",
                "it is not pinned any more: the owner of this node removed it, or it was too large",
            )
        state = self._content.job_state(cid)
        if state == "fetching":
            return "pinning", ""
        if state != "failed":
            return "queued", ""
        return "failed", next((job.error for job in self._content.jobs() if job.cid == cid), "")

    async def _put(self, owner: str, request: Request, request_id: str) -> Reply:
        body = await _body(request)
        cid = Cid.parse(body.cid)
        if not cid.prefix.is_supported or cid.codec not in CODECS:
            raise HttpError(HTTPStatus.BAD_REQUEST, f"{cid} is of a format or a hash that is not supported.")
        await self._check_room(owner, str(cid))
        await self._content.pin(str(cid), body.name or "", Pin(PINNING + owner))
        self._over.pop((owner, str(cid)), None)
        self._unfinished.add((owner, str(cid)))
        self._news.set()
        wanted = PinRequest(
            request_id,
            owner,
            str(cid),
            body.name or "",
            tuple(body.origins or ()),
            body.meta or {},
            int(self._clock() * 1e6),
        )
        try:
            kept = await asyncio.to_thread(self._book.put, wanted)
        except MeshconsoleError:
            await self._let_go_of(wanted)
            raise
        return json(self._told(kept), HTTPStatus.ACCEPTED)

    async def _check_room(self, owner: str, cid: str) -> None:
        """As far as it is known: how large a pin will be is seen when it comes, by `keep_within`."""
        if await asyncio.to_thread(self._book.count, owner) >= MAX_PINS:
            raise HttpError(HTTPStatus.CONFLICT, f"This token has {MAX_PINS} pins, which is the most.")
        most = self._owner_bytes()
        if most:
            used = self._bytes_of(owner)
            is_new = not self._content.is_pinned(cid, PINNING + owner)
            if used >= most or (is_new and used + self._size(cid) > most):
                raise HttpError(
                    HTTPStatus.CONFLICT, f"This token has {used} bytes pinned here, of {most} (edge.key_mb)."
                )

    async def keep_within(self) -> None:
        """Lifts pins that turn out to be too large for their token while they come."""
        for root in self._content.roots():
            for pin in root.pins:
                if pin.owner.startswith(PINNING) and not self._content.presence(root.cid).complete:
                    self._unfinished.add((pin.owner.removeprefix(PINNING), root.cid))
        while True:
            while self._unfinished and self._owner_bytes():
                await asyncio.sleep(LOOK_S)
                await self.look_again()
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LIMIT_AGAIN_S):
                    await self._news.wait()

    async def look_again(self) -> None:
        """At pins that were not whole when last seen: of a token that has too much here they are lifted."""
        most = self._owner_bytes()
        for owner, cid in sorted(self._unfinished):
            if not self._content.is_pinned(cid, PINNING + owner):
                self._unfinished.discard((owner, cid))
            elif most and self._bytes_of(owner) > most:
                self._unfinished.discard((owner, cid))
                self._over[owner, cid] = f"it is too large: this token may have {most} bytes (edge.key_mb)"
                await self._lift(owner, cid)
            elif self._content.presence(cid).complete:
                self._unfinished.discard((owner, cid))

    def _bytes_of(self, owner: str) -> int:
        pinned = (root.cid for root in self._content.roots() if root.pin_of(PINNING + owner) is not None)
        return sum(map(self._size, pinned))

    def _size(self, cid: str) -> int:
        """As far as it is known: the whole of it as soon as the blocks that tell are here."""
        presence = self._content.presence(cid)
        return max(presence.bytes, presence.total_bytes or 0)

    async def _drop(self, request: PinRequest) -> None:
        await asyncio.to_thread(self._book.drop, request.owner, request.id, request.cid)
        await self._let_go_of(request)

    async def _let_go_of(self, request: PinRequest) -> None:
        """Of a CID that no request of this owner names any more."""
        left = await asyncio.to_thread(self._book.all, request.owner)
        if not any(other.cid == request.cid for other in left):
            self._over.pop((request.owner, request.cid), None)
            await self._lift(request.owner, request.cid)

    async def _lift(self, owner: str, cid: str) -> None:
        if self._content.is_pinned(cid, PINNING + owner):
            await self._content.unpin(cid, PINNING + owner)
        if not self._content.is_pinned(cid):
            await self._content.cancel_fetch(cid)

    async def _list(self, owner: str, request: Request) -> Reply:
        wanted = Filter.of(request)
        told = [
            self._told(each) for each in await asyncio.to_thread(self._book.all, owner) if wanted.takes(each)
        ]
        found = [each for each in told if each["status"] in wanted.statuses]
        return json({"count": len(found), "results": found[: wanted.limit]})

    def _told(self, request: PinRequest) -> dict[str, Any]:
        status, why = self.status_of(request.cid, request.owner)
        presence = self._content.presence(request.cid)
        details = why or (f"{presence.bytes} of {presence.total_bytes} bytes" if presence.total_bytes else "")
        pin = {"cid": request.cid, "name": request.name, "origins": request.origins, "meta": request.meta}
        return {
            "requestid": request.id,
            "status": status,
            "created": _written(request.made),
            "pin": pin,
            "delegates": self._delegates(),
            "info": {"status_details": details} if details and status != "pinned" else {},
        }


class Filter(msgspec.Struct, frozen=True):
    cids: frozenset[str]
    name: str
    match: str
    statuses: frozenset[str]
    before: int | None
    after: int | None
    meta: dict[str, str]
    limit: int

    @classmethod
    def of(cls, request: Request) -> Filter:
        """Raises HttpError."""
        cids = frozenset(str(Cid.parse(text)) for text in _several(request, "cid"))
        statuses = frozenset(_several(request, "status")) or {"pinned"}
        limit = request.parameter("limit") or "10"
        match = request.parameter("match") or "exact"
        if len(cids) > 10:
            raise HttpError(HTTPStatus.BAD_REQUEST, "At most 10 CIDs are looked for at a time.")
        if not statuses <= {"queued", "pinning", "pinned", "failed"}:
            raise HttpError(HTTPStatus.BAD_REQUEST, "status is queued, pinning, pinned or failed.")
        if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit[:9]) <= MAX_RESULTS):
            raise HttpError(HTTPStatus.BAD_REQUEST, f"limit is a number from 1 to {MAX_RESULTS}.")
        if match not in ("exact", "iexact", "partial", "ipartial"):
            raise HttpError(HTTPStatus.BAD_REQUEST, "match is exact, iexact, partial or ipartial.")
        try:
            meta = msgspec.json.decode(request.parameter("meta") or "{}", type=dict[str, str])
        except (msgspec.MsgspecError, RecursionError):
            raise HttpError(HTTPStatus.BAD_REQUEST, "meta is a JSON object of texts.") from None
        before, after = _moment(request, "before"), _moment(request, "after")
        return cls(
            cids, request.parameter("name"), match, frozenset(statuses), before, after, meta, int(limit)
        )

    def takes(self, request: PinRequest) -> bool:
        return (
            (not self.cids or request.cid in self.cids)
            and (not self.name or self._matches(request.name))
            and (self.before is None or request.made < self.before)
            and (self.after is None or request.made > self.after)
            and all(request.meta.get(key) == value for key, value in self.meta.items())
        )

    def _matches(self, name: str) -> bool:
        wanted = self.name
        if self.match in ("iexact", "ipartial"):
            wanted, name = wanted.casefold(), name.casefold()
        return wanted in name if self.match in ("partial", "ipartial") else wanted == name


async def _body(request: Request) -> PinBody:
    """Raises HttpError."""
    body = bytearray()
    async for piece in request.body:
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "A pin is named in at most 64 KiB.")
    try:
        return msgspec.json.decode(bytes(body), type=PinBody)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise HttpError(HTTPStatus.BAD_REQUEST, f"This is not a pin object: {error}") from None


def _several(request: Request, name: str) -> Iterable[str]:
    """Given several times, or once with commas: clients do both."""
    for key, value in request.parameters():
        if key == name:
            yield from filter(None, value.split(","))


def _moment(request: Request, name: str) -> int | None:
    """In microseconds since the epoch. Raises HttpError."""
    text = request.parameter(name)
    if not text:
        return None
    try:
        # A plus sign in a URL is a space.
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise HttpError(HTTPStatus.BAD_REQUEST, f"{name} is a time as in 2026-11-26T01:02:03Z.") from None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1e6)


def _written(made: int) -> str:
    seconds, micros = divmod(made, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{micros:06d}Z"


def _failure(error: HttpError) -> Reply:
    reason = _REASONS.get(error.status, error.status.name)
    return json({"error": {"reason": reason, "details": error.sentence}}, error.status, error.headers)


_REASONS = {HTTPStatus.CONFLICT: "INSUFFICIENT_FUNDS"}


def _not_found() -> HttpError:
    return HttpError(HTTPStatus.NOT_FOUND, "This token has no such pin.")


def _wrong_method() -> HttpError:
    return HttpError(HTTPStatus.METHOD_NOT_ALLOWED, "Pins are not asked for by this method.")
