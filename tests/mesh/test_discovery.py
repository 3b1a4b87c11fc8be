"""Discovery without a network: advertisements, addresses, memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.errors import Unavailable
from meshconsole.mesh.addresses import answers_on_the_link, host_addresses, listen_addresses
from meshconsole.mesh.discovery.advertisement import SERVICE, make_txt, read_advertisement
from meshconsole.mesh.discovery.cached import PEERS, PER_PEER, AddressBook
from meshconsole.mesh.endpoints import is_loopback, join_address, split_address, with_port

ID = "0123456789abcdef"
TXT: dict[bytes, bytes | None] = {b"v": b"1", b"id": ID.encode(), b"t": b"fedcba9876543210"}
NAME = f"{ID}.{SERVICE}"


def test_what_is_announced_is_understood() -> None:
    txt: dict[bytes, bytes | None] = {
        key.encode(): value.encode() for key, value in make_txt(ID, "fedcba9876543210").items()
    }
    seen = read_advertisement(NAME, txt, ["fd00::2", "192.168.1.5"], 7447)
    assert seen is not None
    assert (seen.id, seen.tag) == (ID, "fedcba9876543210")
    assert seen.addresses == ("192.168.1.5:7447", "[fd00::2]:7447")


def test_the_announcement_is_small() -> None:
    assert sum(len(k) + len(v) + 2 for k, v in make_txt(ID, "f" * 16).items()) < 100


@pytest.mark.parametrize(
    "change",
    [
        {b"v": b"2"},
        {b"v": None},
        {b"id": b"0123"},
        {b"id": b"fedcba9876543210"},
        {b"id": b"\xff\xfe"},
        {b"t": b"not hex, 16 char"},
    ],
)
def test_what_is_not_understood_is_left_alone(change: dict[bytes, bytes | None]) -> None:
    assert read_advertisement(NAME, {**TXT, **change}, ["192.168.1.5"], 7447) is None


def test_addresses_that_nobody_could_dial_are_left_out() -> None:
    seen = read_advertisement(NAME, TXT, ["fe80::1", "0.0.0.0", "224.0.0.1", "junk", "127.0.0.1"], 7447)
    assert seen is not None
    assert seen.addresses == ("127.0.0.1:7447",)
    assert read_advertisement(NAME, TXT, ["fe80::1"], 7447) is None
    assert read_advertisement(NAME, TXT, ["10.0.0.1"], 0) is None


@given(
    st.text(max_size=40),
    st.dictionaries(
        st.sampled_from([b"v", b"id", b"t", b"x"]), st.none() | st.binary(max_size=30), max_size=4
    ),
    st.lists(st.text(max_size=20), max_size=20),
    st.none() | st.integers(-1, 70_000),
)
def test_no_announcement_breaks_the_reader(
    name: str, txt: dict[bytes, bytes | None], addresses: list[str], port: int | None
) -> None:
    seen = read_advertisement(name, txt, addresses, port)
    if seen is not None:
        assert seen.addresses


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("192.168.1.5:7447", ("192.168.1.5", 7447)),
        ("[fd00::2]:1", ("fd00::2", 1)),
        ("pi.local:65535", ("pi.local", 65535)),
    ],
)
def test_addresses_are_split_and_joined(text: str, parts: tuple[str, int]) -> None:
    assert split_address(text) == parts
    assert join_address(*parts) == text


@pytest.mark.parametrize(
    "text",
    ["", "host", "host:", ":1", "host:0", "host:65536", "host:x", "fd00::2:1", "a b:1", "h\x1b:1", "h/x:1"],
)
def test_what_is_no_address_is_unavailable_in_words(text: str) -> None:
    with pytest.raises(Unavailable, match="not an address"):
        split_address(text)


@given(st.text(max_size=60))
def test_no_text_breaks_the_address_reader(text: str) -> None:
    try:
        host, port = split_address(text)
    except Unavailable:
        return
    assert split_address(join_address(host, port)) == (host, port)


def test_loopback_is_recognised() -> None:
    assert all(is_loopback(a) for a in ("127.0.0.1:1", "[::1]:1", "localhost:1", "[::ffff:127.0.0.1]:1"))
    assert not any(is_loopback(a) for a in ("10.0.0.1:1", "pi.local:1", "", "junk"))


def test_where_a_node_listens() -> None:
    hosts = ("10.0.0.1", "fd00::2")
    assert listen_addresses("0.0.0.0:7447", 7447, hosts) == ("10.0.0.1:7447",)
    assert listen_addresses("[::]:0", 99, hosts) == ("10.0.0.1:99", "[fd00::2]:99")
    assert listen_addresses(":0", 99, hosts) == ("10.0.0.1:99", "[fd00::2]:99")
    assert listen_addresses("127.0.0.1:0", 99, hosts) == ("127.0.0.1:99",)
    assert [answers_on_the_link(listen) for listen in (":1", "[::]:1", "0.0.0.0:1", "[fd00::2]:1")] == [
        True,
        True,
        False,
        False,
    ]
    assert with_port("10.0.0.9:55555", 7447) == "10.0.0.9:7447"


def test_this_machine_has_at_least_one_address() -> None:
    assert host_addresses()


def test_the_newest_addresses_of_each_peer_are_kept() -> None:
    book = AddressBook.of({"a": ["x:1"]})
    for number in range(10):
        book.worked("a", f"h{number}:1")
    assert book.all()["a"] == [f"h{number}:1" for number in (9, 8, 7, 6)]
    assert len(book.all()["a"]) == PER_PEER


def test_an_address_that_works_again_is_nothing_new_to_save() -> None:
    book = AddressBook.of({"a": ["x:1", "y:1"]})
    book.worked("a", "x:1")
    assert not book.is_dirty
    book.worked("a", "y:1")
    assert book.is_dirty


def test_the_book_is_bounded_and_forgets_the_removed() -> None:
    book = AddressBook()
    for number in range(PEERS + 10):
        book.worked(str(number), "h:1")
    assert len(book.all()) == PEERS
    assert "0" not in book.all()
    book.forget("50")
    assert "50" not in book.all()
