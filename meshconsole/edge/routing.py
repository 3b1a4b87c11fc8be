"""Delegated routing: who provides a CID. Source: specs.ipfs.tech/routing/http-routing-v1.

The one provider that is ever named is this node: its gateway, and its libp2p where that is on. Who of the
team holds what is the team's matter: it shows only in that the gateway can fetch it.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, TypedDict

import msgspec

from meshconsole.content.formats.cid import IDENTITY, Cid
from meshconsole.content.formats.multibase import encode_base58
from meshconsole.core.errors import RemoteError
from meshconsole.edge.messages import HttpError, Reply, json, listed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from meshconsole.edge.messages import Request

GATEWAY = "transport-ipfs-gateway-http"
BITSWAP = "transport-bitswap"
NDJSON = "application/x-ndjson"
_ED25519 = b"\x00\x24\x08\x01\x12\x20"
"""An identity multihash of 36 bytes: a public key of 32 in libp2p's protobuf (libp2p/specs peer-ids)."""


class Peer(TypedDict):
    Schema: str
    ID: str
    Addrs: list[str]
    Protocols: list[str]


def peer_id(public: bytes) -> str:
    """Of a raw Ed25519 public key."""
    return encode_base58(_ED25519 + public)


def peer_record(peer: str, addresses: Iterable[str], protocol: str) -> Peer:
    """`addresses` are multiaddrs; a name at their end is left out, since the record has it."""
    bare = [address.removesuffix(f"/p2p/{peer}") for address in addresses]
    return {"Schema": "peer", "ID": peer, "Addrs": bare, "Protocols": [protocol]}


class Routing:
    """`provides` says whether this node can give out a CID, `records` are the ways in which it does."""

    def __init__(self, provides: Callable[[Cid], Awaitable[bool]], records: Callable[[], list[Peer]]) -> None:
        self._provides = provides
        self._records = records

    async def handle(self, request: Request) -> Reply:
        """What is below /routing/v1. Raises HttpError."""
        parts = request.segments()[2:]
        if len(parts) != 2 or parts[0] not in ("providers", "peers", "ipns"):
            raise HttpError(HTTPStatus.BAD_REQUEST, "There is /routing/v1/providers/CID here.")
        if request.method not in ("GET", "HEAD") or parts[0] == "ipns":
            raise HttpError(HTTPStatus.NOT_IMPLEMENTED, "Records are neither kept nor taken here.")
        kind, name = parts
        if kind == "providers":
            found = self._records() if await self._is_provided(name) else []
        else:
            found = [record for record in self._records() if record["ID"] == name]
        found = [kept for record in found if (kept := _filtered(request, record)) is not None]
        told = ("Cache-Control", "no-store")  # what is here changes
        status = HTTPStatus.OK if found else HTTPStatus.NOT_FOUND
        if NDJSON in (each.partition(";")[0] for each in listed(request.header("accept"))):
            lines = b"".join(msgspec.json.encode(peer) + b"\n" for peer in found)
            return Reply(status, (("Content-Type", NDJSON), told), lines)
        return json({"Providers" if kind == "providers" else "Peers": found}, status, (told,))

    async def _is_provided(self, text: str) -> bool:
        try:
            cid = Cid.parse(text)
        except RemoteError as error:
            raise HttpError(HTTPStatus.UNPROCESSABLE_ENTITY, error.sentence) from None
        # What is in its own CID is everywhere, and no reason to tell every web page where this node is.
        return cid.prefix.is_supported and cid.hash_code != IDENTITY and await self._provides(cid)


def _filtered(request: Request, record: Peer) -> Peer | None:
    """What the client's filters let through (IPIP-484)."""
    protocols = list(listed(request.parameter("filter-protocols")))
    if protocols != [""] and not set(protocols) & set(record["Protocols"]):
        return None
    kept = [each for each in record["Addrs"] if _passes(each, request.parameter("filter-addrs"))]
    return {**record, "Addrs": kept} if kept else None


def multiaddr(host: str, port: int) -> str:
    return f"/{'ip6' if ':' in host else 'ip4'}/{host}/tcp/{port}/http"


def _passes(address: str, wanted: str) -> bool:
    """One of the protocols that are asked for is in the address, and none with a "!" before it."""
    if not wanted:
        return True
    parts = address.split("/")
    names = [name for name in listed(wanted) if name]
    if any(name[1:] in parts for name in names if name.startswith("!")):
        return False
    positive = [name for name in names if not name.startswith("!")]
    return not positive or any(name in parts for name in positive)
