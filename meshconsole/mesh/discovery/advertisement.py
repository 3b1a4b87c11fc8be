"""What a node says of itself by mDNS, and what it makes of what others say. Pure.

Service `_meshconsole._tcp.local.`, instance name = a random id of this process. TXT: `v` the version, `id`
the same random id, `t` a tag that only the team's devices can make or recognise. Nothing names the team,
the member or the key. All of it is a hint: who is there, the link's handshake proves.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

import msgspec

from meshconsole.mesh.endpoints import join_address

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE = "_meshconsole._tcp.local."
RELAY_SERVICE = "_nostr._tcp.local."
"""For strangers, where they may be told: a Nostr relay, at the path in its TXT. It names nobody either."""
VERSION = b"1"
ID_BYTES = 8
MAX_ADDRESSES = 8
_HEX = re.compile(r"[0-9a-f]{16}")


class Advertisement(msgspec.Struct, frozen=True):
    """`addresses` are HOST:PORT, IPv4 first. `tag` is "" if the node has no team key."""

    id: str
    tag: str
    addresses: tuple[str, ...]


def make_txt(instance_id: str, tag: str) -> dict[str, str]:
    return {"v": VERSION.decode(), "id": instance_id, "t": tag}


def read_advertisement(
    name: str, txt: Mapping[bytes, bytes | None], addresses: list[str], port: int | None
) -> Advertisement | None:
    """None for what this version does not understand, or nobody could dial."""
    instance_id = _text(txt.get(b"id"))
    tag = _text(txt.get(b"t"))
    if txt.get(b"v") != VERSION or not _HEX.fullmatch(instance_id) or not name.startswith(f"{instance_id}."):
        return None
    if tag and not _HEX.fullmatch(tag):
        return None
    if port is None or not 0 < port < 65536:
        return None
    dialable = tuple(join_address(host, port) for host in _dialable(addresses))
    return Advertisement(instance_id, tag, dialable) if dialable else None


def _dialable(addresses: list[str]) -> list[str]:
    """Loopback only when nothing else was named: it is then this very machine, or a mistake."""
    found: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = []
    for text in addresses[: 4 * MAX_ADDRESSES]:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            continue
        if not (address.is_unspecified or address.is_multicast or address.is_link_local):
            found.append(address)
    found.sort(key=lambda address: address.version)
    others = [address for address in found if not address.is_loopback]
    return [str(address) for address in (others or found)[:MAX_ADDRESSES]]


def _text(value: bytes | None) -> str:
    try:
        return (value or b"").decode("ascii")
    except UnicodeDecodeError:
        return "?"
