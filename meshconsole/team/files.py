"""Files of the team: a sealed manifest tells name, size, CID and the file's own key. Pure.

Each file is sealed under a random key of its own (`crypto/sealing.py`) and stored as ciphertext, which
its CID names. The key travels in the manifest, wrapped under the epoch's `cek` key and bound to team,
epoch and CID, so that it cannot be put before another file.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from meshconsole.core.errors import Refused, RemoteError
from meshconsole.core.kinds import FILE_MANIFEST
from meshconsole.crypto.encoding import b64, lp, unb64
from meshconsole.crypto.sealing import seal, unseal
from meshconsole.team.sealed import open_event, seal_event, team_tags

if TYPE_CHECKING:
    from meshconsole.core.event import Event
    from meshconsole.crypto.identity import Identity
    from meshconsole.team.epochs import EpochKey

INNER_KIND = 1063
"""NIP-94 file metadata is the kind inside; its body is ours."""
KEY_LEN = 32
MAX_NAME = 255
MAX_SIZE = 1 << 42


class FileEntry(msgspec.Struct, frozen=True):
    """`key` is the file's own 32-byte key, sizes are in bytes, `name` was chosen by its author."""

    cid: str
    name: str
    size: int
    sealed_size: int
    media_type: str
    key: bytes

    def __repr__(self) -> str:
        return f"FileEntry(cid={self.cid!r}, size={self.size})"


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    v: Annotated[int, Meta(ge=1, le=1)]
    cid: Annotated[str, Meta(min_length=1, max_length=128)]
    name: Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
    size: Annotated[int, Meta(ge=0, le=MAX_SIZE)]
    sealed_size: Annotated[int, Meta(ge=0, le=2 * MAX_SIZE)]
    media_type: Annotated[str, Meta(max_length=127)]
    key: Annotated[str, Meta(max_length=256)]


def object_key() -> bytes:
    """A new file's key."""
    return os.urandom(KEY_LEN)


def object_context(suite_id: int, team: bytes) -> bytes:
    """What a file is sealed for: it opens as a file of this team and as nothing else."""
    return lp("mc/obj/v1", suite_id, team, "file")


def seal_manifest(author: Identity, epoch: EpochKey, entry: FileEntry, now: int) -> Event:
    wrapped = seal(epoch.derive("cek"), _wrap_context(epoch, entry.cid), entry.key)
    body = _Body(
        1, entry.cid, entry.name[:MAX_NAME], entry.size, entry.sealed_size, entry.media_type, b64(wrapped)
    )
    content = msgspec.json.encode(body).decode()
    inner = author.sign(INNER_KIND, team_tags(epoch.team), content, now)
    return seal_event(author, epoch, inner, FILE_MANIFEST)


def open_manifest(outer: Event, epoch: EpochKey) -> FileEntry:
    """Raises Refused("invalid", ...)."""
    inner = open_event(outer, epoch, INNER_KIND)
    try:
        body = msgspec.json.decode(inner.content, type=_Body)
        key = unseal(epoch.derive("cek"), _wrap_context(epoch, body.cid), unb64(body.key))
    except (msgspec.DecodeError, RemoteError):
        raise Refused("invalid", "The file's manifest is malformed.") from None
    if len(key) != KEY_LEN:
        raise Refused("invalid", "The file's manifest is malformed.")
    return FileEntry(body.cid, body.name, body.size, body.sealed_size, body.media_type, key)


def _wrap_context(epoch: EpochKey, cid: str) -> bytes:
    return lp("mc/cek/v1", epoch.team, epoch.n, "file", cid)
