"""Descriptions of browsers."""

from __future__ import annotations

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


def test_what_is_not_hidden_or_not_udp_stays_or_goes() -> None:
    plain = "a=candidate:1 1 udp 1 192.0.2.9 5 typ host"
    tcp = HIDDEN.replace("udp", "tcp")
    assert with_own_addresses(f"{plain}\n{tcp}", ["192.0.2.7"]) == f"{plain}\r\n"


@given(st.text(max_size=200), st.lists(st.just("192.0.2.7"), max_size=2))
def test_any_text_is_taken(text: str, hosts: list[str]) -> None:
    with_own_addresses(text, hosts)
    with_own_addresses(f"a=candidate:{text}", hosts)
