"""Folders of the team: many files under one CID, of which an outsider learns number and sizes. Pure.

The blocks form a plain directory whose entries are called 0, 1, 2 and so on. Entry 0 is the listing: the
paths, sizes and keys of the files 1, 2 and so on, sealed like them, under the key that the folder's
manifest carries. So a folder is fetched, pinned and counted as one thing, and its names are sealed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from meshconsole.core.errors import Refused, RemoteError
from meshconsole.core.filenames import check_path
from meshconsole.team.files import KEY_LEN, MAX_SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDER_TYPE = "application/vnd.meshconsole.folder"
"""The media type in the manifest of a folder."""

LISTING_NAME = "0"
MAX_FILES = 20_000
MAX_LISTING_BYTES = 16 << 20


class FolderFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`path` is relative, with slashes; `key` is the file's own."""

    path: Annotated[str, Meta(min_length=1, max_length=4096)]
    size: Annotated[int, Meta(ge=0, le=MAX_SIZE)]
    key: Annotated[bytes, Meta(min_length=KEY_LEN, max_length=KEY_LEN)]

    def __repr__(self) -> str:
        return f"FolderFile(path={self.path!r}, size={self.size})"


class _Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    v: Annotated[int, Meta(ge=1, le=1)]
    files: Annotated[tuple[FolderFile, ...], Meta(max_length=MAX_FILES)]


def encode_listing(files: Sequence[FolderFile]) -> bytes:
    """Raises Refused for what no reader would take."""
    _check(files)
    if len(files) > MAX_FILES:
        raise Refused(
            "restricted", f"A folder holds at most {MAX_FILES} files, and this one has {len(files)}."
        )
    data = msgspec.json.encode(_Listing(1, tuple(files)))
    if len(data) > MAX_LISTING_BYTES:
        raise Refused("restricted", "The paths in this folder are too long together.")
    return data


def decode_listing(data: bytes) -> tuple[FolderFile, ...]:
    """In the order of the entries 1, 2, .... Raises Refused("invalid", ...)."""
    try:
        files = msgspec.json.decode(data, type=_Listing).files
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise Refused("invalid", "The listing of the folder is malformed.") from None
    _check(files)
    return files


def _check(files: Sequence[FolderFile]) -> None:
    """Each path leads into the folder, and no file stands where another one needs a folder."""
    paths: set[str] = set()
    folders: set[str] = set()
    for file in files:
        try:
            names = check_path(file.path)
        except RemoteError as error:
            raise Refused("invalid", f"The folder cannot be shared or written: {error.sentence}") from None
        if file.path in paths:
            raise Refused("invalid", "Two files of the folder have one path.")
        paths.add(file.path)
        folders.update("/".join(names[:depth]) for depth in range(1, len(names)))
    if paths & folders:
        raise Refused("invalid", "A file of the folder stands where another one needs a folder.")
