"""Session descriptions (SDP) of data channels, and the servers that help to make them. Pure.

A description comes from another device of the team, but it is parsed by code that is not ours: what is
not needed for one data channel is refused before that code sees it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshconsole.core.errors import RemoteError

if TYPE_CHECKING:
    from meshconsole.core.sections import NatSection

MAX_DESCRIPTION = 32 * 1024
MAX_CANDIDATES = 64
_DATA_SECTION = re.compile(r"m=application \d{1,5} UDP/DTLS/SCTP webrtc-datachannel")


@dataclass(frozen=True, slots=True)
class IceServer:
    """One STUN or TURN server."""

    url: str
    username: str = ""
    password: str = ""


def ice_servers(nat: NatSection) -> tuple[IceServer, ...]:
    """The owner's servers: `stun:HOST:PORT`, `turn:USER:PASSWORD@HOST:PORT?transport=tcp`.

    aiortc uses the first of each kind only, so those that live are sought out first (`mesh/ice.py`).
    """
    stun = [IceServer(url) for url in nat.stun_servers]
    turn = [_turn_server(url) for url in nat.turn_servers] if nat.relay_fallback else []
    return (*stun, *turn)


def _turn_server(url: str) -> IceServer:
    scheme, _, rest = url.partition(":")
    secrets, at, where = rest.rpartition("@")
    username, _, password = secrets.partition(":")
    return IceServer(f"{scheme}:{where}", username, password) if at else IceServer(url)


def check_description(text: str) -> str:
    """A description with one data section and nothing that would reach code we do not use. Pure.

    Names ending in ".local" are left out: each costs a second of multicast queries. Raises RemoteError.
    """
    if len(text) > MAX_DESCRIPTION or not text.isascii():
        raise RemoteError("bad-sdp", "The peer sent a description that is too long or not plain text.")
    lines = text.splitlines()
    sections = [line for line in lines if line.startswith("m=")]
    if len(sections) != 1 or not _DATA_SECTION.fullmatch(sections[0]):
        raise RemoteError("bad-sdp", "The peer sent a description that is not for one data channel.")
    kept = [line for line in lines if not (line.startswith("a=candidate:") and _is_hidden(line))]
    if sum(line.startswith("a=candidate:") for line in kept) > MAX_CANDIDATES:
        raise RemoteError("bad-sdp", f"The peer sent more than {MAX_CANDIDATES} addresses.")
    return "\r\n".join(kept) + "\r\n"


def _is_hidden(candidate: str) -> bool:
    return any(word.endswith(".local") for word in candidate.split())
