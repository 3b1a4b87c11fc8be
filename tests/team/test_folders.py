from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.errors import Refused
from meshconsole.team.folders import MAX_FILES, FolderFile, decode_listing, encode_listing

KEY = bytes(32)


def files(*paths: str) -> list[FolderFile]:
    return [FolderFile(path, 1, KEY) for path in paths]


def test_round_trip() -> None:
    listing = files("a", "b/c", "b/d/写真.jpg")
    assert decode_listing(encode_listing(listing)) == tuple(listing)
    assert KEY.hex() not in repr(listing)


@pytest.mark.parametrize(
    "paths",
    [
        ("../a",),
        ("/etc/passwd",),
        ("a/../../b",),
        ("a\nb",),
        ("a\0",),
        ("x" * 300,),
        ("a", "a"),
        ("a", "a/b"),
        ("a/b/c", "a/b"),
    ],
)
def test_paths_that_cannot_stand_together_are_neither_written_nor_read(paths: tuple[str, ...]) -> None:
    with pytest.raises(Refused):
        encode_listing(files(*paths))
    data = msgspec.json.encode({"v": 1, "files": files(*paths)})
    with pytest.raises(Refused):
        decode_listing(data)


def test_bounds() -> None:
    with pytest.raises(Refused):
        encode_listing(files(*map(str, range(MAX_FILES + 1))))
    for bad in (b"", b"{}", b'{"v":2,"files":[]}', b'{"v":1,"files":[{"path":"a","size":1,"key":"AA=="}]}'):
        with pytest.raises(Refused):
            decode_listing(bad)


HOSTILE = [b'{"v":1,"files":[{"path":"\xff"}]}', b'{"v":1,"x":' + b"[" * 100_000, b"[" * 100_000]


@given(st.binary() | st.sampled_from(HOSTILE))
def test_any_bytes_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(Refused):
        decode_listing(data)
