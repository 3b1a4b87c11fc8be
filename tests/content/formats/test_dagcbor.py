"""Links of dag-cbor blocks that others wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.content.formats.cid import DAG_CBOR, RAW, Cid
from meshconsole.content.formats.dagcbor import cbor_links
from meshconsole.content.walk import links_of
from meshconsole.core.errors import RemoteError

ONE, TWO = Cid.of(RAW, b"one"), Cid.v0(b"two")


def link(cid: Cid) -> bytes:
    data = b"\0" + cid.encode()
    return b"\xd8\x2a\x58" + bytes((len(data),)) + data


def test_links_are_found_wherever_they_stand() -> None:
    block = b"\xa2\x61a" + b"\x83" + link(ONE) + b"\x19\x01\x00" + link(TWO) + b"\x61b" + link(ONE)
    assert cbor_links(block) == (ONE, TWO, ONE)
    assert [each.cid for each in links_of(Cid.of(DAG_CBOR, block), block)] == [ONE, TWO, ONE]


def test_bytes_that_look_like_a_cid_are_no_link() -> None:
    data = ONE.encode()
    assert cbor_links(b"\x82\x58" + bytes((len(data),)) + data + b"\x62\xd8\xaa") == ()


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x9b" + b"\xff" * 8, id="an array of 2^64"),
        pytest.param(b"\x5b\x00" + b"\xff" * 7, id="bytes without end"),
        pytest.param(b"\x81" * 200_000 + b"\x80", id="nested for ever"),
        pytest.param(b"\xd8\x2a\x41\x00", id="an empty CID"),
        pytest.param(b"\xd8\x2b\x00", id="another tag"),
        pytest.param(b"\x9f\xff", id="of no length"),
        pytest.param(b"\x80\x80", id="two at once"),
        pytest.param(b"\xa2\x61b\x01\x61a\x01", id="keys in disorder"),
    ],
)
def test_malformed_blocks_are_refused(block: bytes) -> None:
    with pytest.raises(RemoteError):
        cbor_links(block)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(block: bytes) -> None:
    try:
        cbor_links(block)
    except RemoteError:
        return
