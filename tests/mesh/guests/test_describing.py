"""Descriptions of browsers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.mesh.guests.describing import with_own_addresses

HIDDEN = "a=candidate:1 1 udp 2113937151 5b1f6a1e-0000-4000-8000-000000000000.local 53155 typ host"


def test_a_hidden_address_is_one_of_this_machine_s() -> None:
    named = with_own_addresses(f"v=0\r\n{HIDDEN}\r\na=end\r\n", ["192.0.2.7"])
    lines = named.splitlines()
    assert lines[0] == "v=0"
    assert lines[3] == "a=end"
    assert [line.split()[4:6] for line in lines[1:3]] == [["127.0.0.1", "53155"], ["192.0.2.7", "53155"]]


def test_of_other_candidates_only_this_machine_s_stay() -> None:
    own = "a=candidate:1 1 udp 1 192.0.2.7 5 typ host"
    others = [own.replace("192.0.2.7", host) for host in ("192.0.2.9", "2001:db8::1", "a.example")]
    lines = [*others, own, HIDDEN.replace("udp", "tcp"), "a=candidate:1"]
    assert with_own_addresses("\n".join(lines), ["192.0.2.7"]) == f"{own}\r\n"


WHITE = [chr(n) for n in range(0x3001) if chr(n).isspace()]


@pytest.mark.parametrize("white", WHITE, ids=[f"{ord(each):x}" for each in WHITE])
def test_words_are_told_apart_as_the_reader_of_the_description_does(white: str) -> None:
    address = white.join(("8.8.8.8", "53", "typ", "host"))
    for line in (
        f"a=candidate:1 1 udp 1{white}{address} 127.0.0.1 x",
        f"a=candidate:1 1 udp 1 {address}{white}127.0.0.1",
        f"a=candidate:1 1 udp{white}1{white}{address} 127.0.0.1 5 typ host",
        f"{white}a=candidate:1 1 udp 1 {address}",
    ):
        passed = with_own_addresses(f"{line}\r\n{HIDDEN}", [])
        read = [each.split() for each in passed.splitlines() if each.startswith("a=candidate:")]
        assert [words[4] for words in read] == ["127.0.0.1"]


def test_what_is_kept_is_written_anew() -> None:
    own = "a=candidate:1 1 udp 1 192.0.2.7 5 typ host"
    assert with_own_addresses(own.replace(" ", "\t\xa0 "), ["192.0.2.7"]) == f"{own}\r\n"


@given(st.text(max_size=200), st.lists(st.just("192.0.2.7"), max_size=2))
def test_any_text_is_taken(text: str, hosts: list[str]) -> None:
    with_own_addresses(text, hosts)
    with_own_addresses(f"a=candidate:{text}", hosts)
