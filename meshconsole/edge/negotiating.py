"""What a client of the gateway asks for: format, scope and order, from its URL and its Accept header. Pure.

Source: specs.ipfs.tech/http-gateways/trustless-gateway. What the URL says counts more than the header.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, urlencode

from meshconsole.content.scope import WHOLE, Bytes, Scope
from meshconsole.core.text import safe
from meshconsole.edge.messages import HttpError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meshconsole.edge.messages import Request

Format = Literal["raw", "car"]

MEDIA_TYPES: dict[str, Format] = {"application/vnd.ipld.raw": "raw", "application/vnd.ipld.car": "car"}
_SCOPES: dict[str, Scope] = {"block": "block", "entity": "entity", "all": "all"}
_entity_bytes = re.compile(r"(-?\d{1,18}):(\*|-?\d{1,18})", re.ASCII).fullmatch
_HOW = "Add ?format=raw for one block or ?format=car for many to the URL."


@dataclass(frozen=True, slots=True)
class Wish:
    """`by_url`: the URL itself names the format."""

    format: Format
    by_url: bool
    scope: Scope = "all"
    part: Bytes = WHOLE
    part_text: str = ""
    dups: bool = False

    @property
    def media_type(self) -> str:
        if self.format == "raw":
            return "application/vnd.ipld.raw"
        return f"application/vnd.ipld.car; version=1; order=dfs; dups={'y' if self.dups else 'n'}"

    def etag(self, root: str, path: str) -> str:
        """A CAR's is weak: other gateways may put the same blocks in another order."""
        if self.format == "raw":
            return f'"{root}.raw"'
        within = sha256(path.encode()).hexdigest()[:16] if path else ""
        return f'W/"{root}.{self.scope}.{within}.{self.part_text}.{"y" if self.dups else "n"}.car"'

    def location(self, request: Request) -> str:
        """The URL that says in itself what this answer is."""
        others = [(name, value) for name, value in request.parameters() if name != "format"]
        return f"{request.path}?{urlencode([('format', self.format), *others])}"


def wish(request: Request) -> Wish:
    """Raises HttpError."""
    accepted = _accepted(request.header("accept"))
    named = request.parameter("format")
    if named:
        chosen = _format(named)
        told = next((params for kind, params in accepted if MEDIA_TYPES.get(kind) == chosen), {})
    else:
        found = next(((MEDIA_TYPES[kind], params) for kind, params in accepted if kind in MEDIA_TYPES), None)
        if found is None:
            told_any = bool(request.header("accept"))
            status = HTTPStatus.NOT_ACCEPTABLE if told_any else HTTPStatus.BAD_REQUEST
            raise HttpError(status, f"Blocks are served here as they are, and no files or pages. {_HOW}")
        chosen, told = found
    if chosen == "raw":
        return Wish("raw", bool(named))
    return _car(request, told, by_url=bool(named))


def _car(request: Request, told: Mapping[str, str], *, by_url: bool) -> Wish:
    version = request.parameter("car-version") or told.get("version", "1")
    if version != "1":
        raise HttpError(HTTPStatus.NOT_ACCEPTABLE, "CAR files are written in version 1.")
    order = request.parameter("car-order") or told.get("order", "dfs")
    if order not in ("dfs", "unk"):
        raise HttpError(HTTPStatus.NOT_ACCEPTABLE, 'Blocks come in the order "dfs".')
    dups = request.parameter("car-dups") or told.get("dups", "n")
    if dups not in ("y", "n"):
        raise HttpError(HTTPStatus.BAD_REQUEST, 'dups is "y" or "n".')
    part_text = request.parameter("entity-bytes")
    scope_text = request.parameter("dag-scope") or ("entity" if part_text else "all")
    if scope_text not in _SCOPES:
        raise HttpError(HTTPStatus.BAD_REQUEST, 'dag-scope is "block", "entity" or "all".')
    scope = _SCOPES[scope_text]
    # It implies the scope "entity"; with another one there is no file whose bytes it could mean.
    part = _part(part_text) if part_text and scope == "entity" else WHOLE
    return Wish("car", by_url, scope, part, part_text, dups == "y")


def _part(text: str) -> Bytes:
    parted = _entity_bytes(text)
    if parted is None:
        raise HttpError(HTTPStatus.BAD_REQUEST, "entity-bytes is FROM:TO, as in 0:* or 0:1023 or -1024:*.")
    part = Bytes(int(parted[1]), None if parted[2] == "*" else int(parted[2]))
    if part.last is not None and (part.first < 0) == (part.last < 0) and part.last < part.first:
        raise HttpError(HTTPStatus.BAD_REQUEST, "entity-bytes ends before it begins.")
    return part


def _format(named: str) -> Format:
    if named == "raw":
        return "raw"
    if named == "car":
        return "car"
    raise HttpError(HTTPStatus.NOT_ACCEPTABLE, f"The format {safe(named, 40)} is not served here. {_HOW}")


def _accepted(header: str) -> list[tuple[str, dict[str, str]]]:
    """Media types with their parameters, those with the highest q first (RFC 9110 §12.5.1)."""
    found: list[tuple[float, str, dict[str, str]]] = []
    for part in header.split(",")[:64]:
        kind, *rest = (each.strip() for each in part.split(";"))
        params = {
            name.strip().lower(): value.strip().strip('"').lower()
            for name, equals, value in (each.partition("=") for each in rest)
            if equals
        }
        quality = _quality(params.pop("q", "1"))
        if kind and quality > 0:
            found.append((quality, kind.lower(), params))
    found.sort(key=lambda each: -each[0])
    return [(kind, params) for _, kind, params in found]


def _quality(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0


def attachment(name: str) -> str:
    """Content-Disposition of a file to be saved under a name that anybody may have chosen (RFC 6266)."""
    plain = "".join(char if " " <= char <= "~" and char not in '"\\/' else "_" for char in name)[:200]
    told = f'attachment; filename="{plain}"'
    # What is no UTF-8 cannot come here; control characters are percent-encoded.
    return told if plain == name else f"{told}; filename*=UTF-8''{quote(name[:200], safe='')}"
