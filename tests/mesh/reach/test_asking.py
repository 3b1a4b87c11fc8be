"""Questions by mDNS: what they look like, and what is read from an answer."""

from __future__ import annotations

import socket

from hypothesis import given
from hypothesis import strategies as st
from zeroconf import DNSOutgoing, DNSPointer, DNSService, DNSText  # type: ignore[attr-defined]

from meshconsole.mesh.discovery.advertisement import SERVICE
from meshconsole.mesh.reach.asking import Advert, connect, make_question, on_own_network, read_answer

INSTANCE = "0123456789abcdef"
NAME = f"{INSTANCE}.{SERVICE}"


def made_answer(text: bytes) -> bytes:
    out = DNSOutgoing(0x8400, multicast=False)
    out.add_answer_at_time(DNSPointer(SERVICE, 12, 1, 120, NAME), 0)
    out.add_additional_answer(DNSService(NAME, 33, 1, 120, 0, 0, 7447, f"{INSTANCE}.local."))
    out.add_additional_answer(DNSText(NAME, 16, 1, 120, text))
    return bytes(out.packets()[0])


def test_a_question_is_for_our_service_and_wants_its_answer_alone() -> None:
    assert make_question(b"\x01\x02") == (
        b"\x01\x02\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0c_meshconsole\x04_tcp\x05local\x00\x00\x0c\x80\x01"
    )


def test_an_answer_tells_port_and_mark() -> None:
    assert read_answer(made_answer(b"\x03v=1\x08t=cafe00")) == Advert(INSTANCE, "cafe00", 7447)
    assert read_answer(made_answer(b"")) == Advert(INSTANCE, "", 7447)


def test_what_is_no_answer_of_ours_is_passed_over() -> None:
    assert read_answer(make_question(b"\x01\x02")) is None
    assert read_answer(bytes(12)) is None


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_passed_over(data: bytes) -> None:
    read_answer(data)
    read_answer(made_answer(data[:200]))


async def test_tcp_is_open_or_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert await connect(address) == "open"
    assert await connect(address) == "refused"


def test_an_address_of_the_link_is_on_a_network_of_this_machine() -> None:
    assert on_own_network(["fe80::1%lan"])
    assert not on_own_network(["2001:db8::1", "203.0.113.9", "relay.example"])
