from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.content.formats.unixfs import Kind, UnixFs, decode_unixfs, encode_unixfs
from meshconsole.core.errors import RemoteError

sizes = st.integers(0, (1 << 64) - 1)
messages = st.builds(
    UnixFs,
    st.sampled_from(list(Kind)),
    st.none() | st.binary(max_size=40),
    st.none() | sizes,
    st.lists(sizes, max_size=5).map(tuple),
    st.none() | sizes,
    st.none() | sizes,
)


def test_the_empty_file() -> None:
    assert encode_unixfs(UnixFs(Kind.FILE, filesize=0)).hex() == "08021800"


def test_mode_and_time_are_read_over() -> None:
    # mode 0644, mtime {seconds 5, nanoseconds 7 as a fixed32}
    data = bytes.fromhex("0802" + "120161" + "1801" + "38a403" + "420708051507000000")
    assert decode_unixfs(data) == UnixFs(Kind.FILE, b"a", 1)


@given(messages)
def test_round_trip(message: UnixFs) -> None:
    assert decode_unixfs(encode_unixfs(message)) == message


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param("", id="no type"),
        pytest.param("0806", id="unknown type"),
        pytest.param("08020802", id="type twice"),
        pytest.param("080218001800", id="size twice"),
        pytest.param("0a0102", id="type as bytes"),
        pytest.param("08021005", id="data as a number"),
        pytest.param("08021205", id="ends inside data"),
        pytest.param("080222020101", id="packed block sizes"),
    ],
)
def test_refuses(encoded: str) -> None:
    with pytest.raises(RemoteError):
        decode_unixfs(bytes.fromhex(encoded))


@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    try:
        message = decode_unixfs(data)
    except RemoteError:
        return
    assert decode_unixfs(encode_unixfs(message)) == message
