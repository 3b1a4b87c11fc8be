"""Signals from afar: only the team reads them, only the addressee acts, and a channel comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.event import Event
from meshconsole.core.kinds import SIGNAL
from meshconsole.mesh import datachannels
from meshconsole.mesh.messages import Describe
from meshconsole.mesh.signalling import open_signal, route, seal_signal
from tests.mesh.devices import identity
from tests.mesh.nodes import SmallRoster, TestNode
from tests.relay.door import door
from tests.relay.making import Members

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

ALICE, BOB = identity("alice"), identity("bob")
KEY, OLD, OTHER = b"k" * 32, b"o" * 32, b"x" * 32
OFFER = Describe(b"attempt!", "offer", "v=0")


def test_the_addressee_reads_it_and_nobody_else() -> None:
    event = seal_signal(ALICE, KEY, BOB.npub, OFFER, 1)
    assert open_signal(event, (OLD, KEY), BOB.npub) == OFFER
    assert open_signal(event, (KEY,), ALICE.npub) is None
    assert open_signal(event, (OTHER,), BOB.npub) is None
    assert event.tags == (("h", route(KEY)),)
    assert BOB.npub not in event.content


def test_one_cannot_be_passed_off_as_anothers() -> None:
    event = seal_signal(ALICE, KEY, BOB.npub, OFFER, 1)
    stolen = identity("mallory").sign(SIGNAL, event.tags, event.content, 1)
    assert open_signal(stolen, (KEY,), BOB.npub) is None
    unsigned = Event(event.id, event.pubkey, 1, SIGNAL, event.tags, event.content, "00" * 64)
    assert open_signal(unsigned, (KEY,), BOB.npub) is None


@given(st.text(max_size=200))
def test_no_content_breaks_the_reader(content: str) -> None:
    event = Event("", ALICE.npub, 1, SIGNAL, (("h", route(KEY)),), content, "")
    assert open_signal(event, (KEY,), BOB.npub) is None


async def test_two_without_a_link_get_a_data_channel_by_way_of_a_third(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They cannot dial each other: neither is told where the other answers."""
    monkeypatch.setattr(datachannels, "FAR_LOOK_S", 0.05)
    monkeypatch.setattr(datachannels, "SETTLE_S", 0.1)
    # The far pair is on this machine, as no link to it has shown.
    monkeypatch.setattr(datachannels, "_on_loopback", lambda _session: True)
    roster = SmallRoster.of("alice", "bob", "hub")
    async with (
        TestNode("hub", roster, tmp_path) as hub,
        TestNode("alice", roster, tmp_path, webrtc=True) as alice,
        TestNode("bob", roster, tmp_path, webrtc=True) as bob,
    ):
        hub.dial(alice, bob)
        await alice.until_linked(bob, "webrtc")
        await bob.until_linked(alice, "webrtc")
        assert not alice.is_linked(bob, "websocket")
        sent = await alice.publish("directly")
        await bob.until_has(sent)


async def test_two_who_share_nothing_but_a_plain_relay_get_a_data_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datachannels, "FAR_LOOK_S", 0.05)
    monkeypatch.setattr(datachannels, "SETTLE_S", 0.1)
    monkeypatch.setattr(datachannels, "_on_loopback", lambda _session: True)
    roster = SmallRoster.of("alice", "bob")
    async with (
        TestNode("alice", roster, tmp_path, webrtc=True) as alice,
        TestNode("bob", roster, tmp_path, webrtc=True) as bob,
        door(Members({alice.npub, bob.npub})) as relay,
    ):
        relay.relay.house.is_device = lambda npubs: bool({alice.npub, bob.npub} & set(npubs))
        for node in (alice, bob):
            node.mesh.set_uplinks((f"ws://{relay.address}",))
        await alice.until_linked(bob, "webrtc")
        await bob.until_linked(alice, "webrtc")
        assert relay.relay.store.count() == 0, "signals are not kept"
