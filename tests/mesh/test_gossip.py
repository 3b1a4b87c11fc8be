"""Gossip: what is told, to whom, and how often; what is taken over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.errors import RemoteError
from meshconsole.mesh import tending
from meshconsole.mesh.discovery.gossip import AGAIN_S, Telling, read_told, tell
from meshconsole.mesh.messages import MAX_TOLD, MAX_TOLD_ADDRESSES, Told, decode_signal, encode
from tests.mesh.nodes import SmallRoster, TestNode

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

A, B, C = "aa" * 32, "bb" * 32, "cc" * 32


def test_a_peer_is_told_of_others_not_of_itself_nor_of_loopback() -> None:
    local = "[fe80::2%eth0]:1"
    told = tell({A: ("10.0.0.1:1",), B: (local, "10.0.0.2:1", "127.0.0.1:1"), C: ("127.0.0.1:2", local)}, A)
    assert read_told(told) == [(B, "10.0.0.2:1")]


def test_the_same_is_told_once_and_news_not_too_often() -> None:
    telling = Telling()
    first, other, third = {B: ("10.0.0.2:1",)}, {B: ("10.0.0.3:1",)}, {B: ("10.0.0.2:1",)}
    assert telling.due(first, A, 0.0, tuple) is not None
    assert telling.due(other, A, AGAIN_S - 1, tuple) is None
    assert telling.due(third, A, AGAIN_S + 1, tuple) is None
    assert telling.due(other, A, AGAIN_S + 2, tuple) is not None
    assert telling.due({}, A, 3 * AGAIN_S, tuple) == Told(()), "it was told of somebody, who is gone"
    assert telling.due({}, A, 5 * AGAIN_S, tuple) is None
    assert Telling().due({A: ("10.0.0.1:1",)}, A, 0.0, tuple) is None, "there is nothing to tell"


def test_what_has_not_changed_is_not_looked_at_again() -> None:
    telling, known = Telling(), {B: ("10.0.0.2:1",)}

    def never() -> tuple[str, ...]:
        raise AssertionError("it was made again")

    telling.due(known, A, 0.0, tuple)
    assert telling.due(known, A, 9 * AGAIN_S, never) is None


def test_a_peer_is_told_first_of_those_of_whom_it_makes_the_most() -> None:
    known = {f"{n:064x}": (f"10.0.{n}.1:1",) for n in range(200)}
    last = f"{199:064x}"
    assert last not in dict(read_told(tell(known, A)))
    assert last in dict(read_told(tell(known, A, {last})))


def test_what_is_told_is_bounded() -> None:
    known = {f"{n:064x}": tuple(f"10.0.{n}.{m}:1" for m in range(9)) for n in range(200)}
    told = tell(known, A)
    assert len(told.peers) == MAX_TOLD
    assert all(len(addresses) == MAX_TOLD_ADDRESSES for _, addresses in told.peers)
    assert decode_signal(encode(told)) == told


def test_what_is_no_address_is_left_out() -> None:
    told = Told(
        (
            (
                bytes.fromhex(B),
                ("10.0.0.2:1", "no address", "10.0.0.2:99999", "[fe80::2%eth0]:1", "[fd00::1]:5"),
            ),
        )
    )
    assert read_told(told) == [(B, "10.0.0.2:1"), (B, "[fd00::1]:5")]


@given(st.binary(max_size=200))
def test_no_signal_breaks_the_reader(payload: bytes) -> None:
    try:
        message = decode_signal(payload)
    except RemoteError:
        return
    if isinstance(message, Told):
        read_told(message)


async def test_two_who_know_the_same_hub_find_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tending, "LOOK_S", 0.05)
    monkeypatch.setattr("meshconsole.mesh.discovery.gossip.is_loopback", lambda _address: False)
    monkeypatch.setattr("meshconsole.mesh.discovery.rungs.is_loopback", lambda _address: False)
    roster = SmallRoster.of("alice", "bob", "hub")
    async with (
        TestNode("hub", roster, tmp_path) as hub,
        TestNode("alice", roster, tmp_path) as alice,
        TestNode("bob", roster, tmp_path) as bob,
    ):
        alice.dial(hub)
        bob.dial(hub)
        await alice.until_linked(bob)
        sources = {
            attempt.source
            for node, other in ((alice, bob), (bob, alice))
            for status in node.mesh.status()
            if status.npub == other.npub
            for attempt in status.attempts
        }
        assert "gossip" in sources
