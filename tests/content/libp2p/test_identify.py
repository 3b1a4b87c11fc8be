from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.content.formats.protobuf import bytes_field
from meshconsole.content.libp2p.identify import MAX_ADDRESSES, decode_identify, encode_identify
from meshconsole.content.libp2p.multiaddr import tcp_address
from meshconsole.core.errors import RemoteError
from tests.content.libp2p.peers import key

OWN = key("me")
HERE = tcp_address("192.0.2.1", 4001)


def test_what_is_said_is_understood() -> None:
    said = encode_identify(OWN.encoded, "meshconsole/1", ("/a", "/b"), (HERE,), tcp_address("::1", 2))
    told = decode_identify(said, OWN.peer)
    assert (told.agent, told.listen) == ("meshconsole/1", (HERE,))
    assert told.protocols == {"/a", "/b"}
    assert told.observed == tcp_address("::1", 2)


def test_the_key_must_be_that_of_the_handshake() -> None:
    said = encode_identify(key("another").encoded, "", (), (), HERE)
    with pytest.raises(RemoteError, match="another"):
        decode_identify(said, OWN.peer)


def test_names_are_made_safe_and_lists_are_bounded() -> None:
    said = bytes_field(6, b"\x1b]52;c;evil") + bytes_field(2, HERE.encode()) * 1000
    told = decode_identify(said, OWN.peer)
    assert told.agent.isprintable()
    assert len(told.listen) == MAX_ADDRESSES


def test_a_thousand_protocols_are_refused() -> None:
    said = b"".join(bytes_field(3, b"/%d" % number) for number in range(1000))
    with pytest.raises(RemoteError, match="128"):
        decode_identify(said, OWN.peer)


@given(st.binary(max_size=100))
def test_any_bytes(data: bytes) -> None:
    with suppress(RemoteError):
        decode_identify(data, OWN.peer)
