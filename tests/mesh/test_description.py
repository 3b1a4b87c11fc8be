"""Descriptions of data channels: what is not needed never reaches the code that is not ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.errors import RemoteError
from meshconsole.core.sections import NatSection
from meshconsole.mesh.links.description import (
    MAX_CANDIDATES,
    MAX_DESCRIPTION,
    IceServer,
    check_description,
    ice_servers,
)

GOOD = """v=0
o=- 1 1 IN IP4 0.0.0.0
s=-
t=0 0
m=application 48227 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 192.0.2.2
a=sctp-port:5000
a=candidate:1 1 udp 2130706431 192.0.2.2 48227 typ host
a=end-of-candidates
""".replace("\n", "\r\n")


def test_a_description_of_one_data_channel_passes_unchanged() -> None:
    assert check_description(GOOD) == GOOD


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "v=0\r\n",
        GOOD + "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n",
        GOOD.replace("m=application", "m=video"),
        GOOD + GOOD,
        GOOD + "a=x-\u2028\r\n",
        GOOD + "a=" + "x" * MAX_DESCRIPTION,
        GOOD + "a=candidate:1 1 udp 1 10.0.0.1 1 typ host\r\n" * (MAX_CANDIDATES + 1),
    ],
    ids=["empty", "none", "audio", "video", "two", "unicode", "long", "candidates"],
)
def test_anything_else_is_a_remote_error(bad: str) -> None:
    with pytest.raises(RemoteError):
        check_description(bad)


def test_names_that_cost_a_second_each_are_left_out() -> None:
    hidden = "a=candidate:2 1 udp 1 0f3a.local 9 typ host\r\n"
    assert check_description(GOOD + hidden) == GOOD
    assert check_description(GOOD + hidden.replace(" ", "\t")) == GOOD


@given(st.text(max_size=200), st.text(max_size=200))
def test_no_text_breaks_the_check(before: str, after: str) -> None:
    for text in (before, before + GOOD + after):
        try:
            checked = check_description(text)
        except RemoteError:
            continue
        assert checked.count("m=") >= 1
        assert check_description(checked) == checked


def test_servers_are_the_owners() -> None:
    nat = NatSection(
        ("stun:10.0.0.1:3478", "stun:10.0.0.2"), ("turn:mc:s:ecret@10.0.0.1:3478?transport=tcp",)
    )
    assert ice_servers(nat) == (
        IceServer("stun:10.0.0.1:3478"),
        IceServer("stun:10.0.0.2"),
        IceServer("turn:10.0.0.1:3478?transport=tcp", "mc", "s:ecret"),
    )
    assert ice_servers(NatSection()) == ()
    assert ice_servers(NatSection((), ("turn:10.0.0.1",), relay_fallback=False)) == ()
