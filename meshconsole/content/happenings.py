"""What the content room tells the node through `emit`. Frozen; never holding content."""

from __future__ import annotations

from typing import Literal

import msgspec

FetchState = Literal["waiting", "fetching", "paused", "done", "failed"]


class Happening(msgspec.Struct, frozen=True):
    pass


class BlockCorrupt(Happening, frozen=True):
    """A stored block was altered, cut short or lost. It is not served, and fetched again if it is needed."""

    block: str
    """The CID under which it was met, or the name of its file."""
    sentence: str


class FetchProgress(Happening, frozen=True):
    """How a fetch stands. `total_bytes` is None until known. "waiting": no peer is known to have more.
    "paused": somebody stopped it, until it is started again."""

    cid: str
    have_bytes: int
    total_bytes: int | None
    state: FetchState
    peers: int = 0
    """How many peers have said that they hold parts of it."""
    error: str = ""


class PresenceChanged(Happening, frozen=True):
    """How much of a root is here has changed other than by a fetch of it."""

    cid: str


class BlocksEvicted(Happening, frozen=True):
    """Unpinned blocks were removed to make room. `bytes` are those freed on the disk."""

    blocks: int
    bytes: int


class IndexRebuilt(Happening, frozen=True):
    """The index of the blocks was missing or damaged and has been made again from the files."""

    blocks: int
    sentence: str


class PeerMisbehaved(Happening, frozen=True):
    """A peer sent what it may not, or promised blocks and did not send them."""

    peer: str
    code: str
    sentence: str
