"""Guests over real data channels: let in, refused, removed, and badly behaved."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from meshconsole.core.errors import Refused, Unavailable
from meshconsole.core.event import encode_event
from meshconsole.core.sections import RelaySection
from meshconsole.core.verdict import refuse
from meshconsole.mesh.guests import guests as service
from meshconsole.mesh.guests import port as guest_port
from meshconsole.mesh.guests.framing import MORE, PIECE
from meshconsole.mesh.links.pipe import PipeClosed
from meshconsole.mesh.links.webrtc import DataChannelOffer
from tests.mesh.guests.visitor import Place, Visitor, let_in, opened, place, visitor
from tests.relay.making import NOW, signed

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "COME_AGAIN_S", 0.0)


async def ended(one: Visitor) -> tuple[str, str]:
    """The last notice on the channel, and the last word over the WebSocket."""
    with contextlib.suppress(PipeClosed):
        while True:
            await one.hear()
    notices = [said[1] for said in one.heard if said[0] == "NOTICE"]
    over = await one.listen()
    assert over["type"] == "over"
    return (notices[-1] if notices else ""), over["reason"]


async def test_a_guest_is_let_in_writes_hears_and_is_removed() -> None:
    async with place() as here:
        link = await opened(here)
        async with visitor(link) as anna:
            said = await anna.ask(link.partition("#")[2])
            code = said["code"]
            (waiting,) = here.guests.status()
            assert (waiting.state, waiting.code, waiting.npub) == ("waiting", code, anna.npub)
            assert code in here.house.told[0]
            await here.guests.admit(code, "", None)
            assert await anna.listen() == {"type": "welcome", "name": "anna", "until": NOW + 8 * 3600}
            await anna.connect()
            assert here.guests.status()[0].state == "here"

            await here.relay.publish(signed("team", tags=(("h", "guests"),), content="for guests"))
            await here.relay.publish(signed("team", content="for the team"))
            await anna.send("REQ", "all", {})
            assert [(await anna.hear())[2]["content"], (await anna.hear())[0]] == ["for guests", "EOSE"]
            note = anna.note("héllo")
            assert (await anna.publish(note))[2] is True
            assert (await anna.publish(signed("anna", content="elsewhere")))[3].startswith("restricted")
            assert (await anna.publish(anna.note("x", name="alpha")))[3].startswith("restricted")
            assert here.guests.status()[0].events == 1

            await here.relay.publish(signed("team", content="not for guests"))
            await here.relay.publish(signed("team", tags=(("h", "guests"),), content="live"))
            while (said_ := await anna.hear())[0] != "EVENT" or said_[2]["content"] != "live":
                assert said_[0] != "EVENT" or said_[2]["id"] == note.id
            await here.guests.remove("anna")
            assert await ended(anna) == (f"restricted: {service.REMOVED}", service.REMOVED)
            await here.until_gone()
        async with visitor(link) as anna:
            assert (await anna.ask(link.partition("#")[2]))["reason"].startswith("This link was used")
        assert here.house.acts == ["guest-link", "guest-admitted anna", "guest-removed anna"]
        assert [len(saved) for saved in here.house.saved] == [1, 0]


async def test_a_refused_browser_is_told_and_its_link_is_used_up() -> None:
    async with place() as here:
        link = await opened(here)
        async with visitor(link) as anna:
            here.guests.refuse((await anna.ask(link.partition("#")[2]))["code"])
            over = await anna.listen()
            assert (over["final"], over["reason"]) == (True, "The owner of this node said no.")
        async with visitor(link) as anna:
            assert (await anna.ask(link.partition("#")[2]))["final"] is True
        assert here.house.acts == ["guest-link", "guest-refused anna"]


async def test_a_guest_comes_again_without_being_asked_for_until_its_time_is_over() -> None:
    async with place() as here:
        link = await opened(here)
        async with visitor(link) as anna:
            await let_in(here, anna, link)
            async with visitor(link) as again:
                assert (await again.ask())["type"] == "welcome"
                await again.connect()
                assert (await ended(anna))[1] == service.CAME_AGAIN
                here.clock.now += 8 * 3600
                assert (await again.publish(again.note("late")))[3].startswith("restricted")
                await here.guests.tend()
                assert (await ended(again))[1] == service.TIME_IS_OVER
        async with visitor(link) as anna:
            assert (await anna.ask())["final"] is True
        assert here.house.acts[-1] == "guest-expired anna"


async def test_a_key_that_was_not_let_in_gets_nothing_on_the_channel_of_one_that_was() -> None:
    async with place() as here:
        link = await opened(here)
        async with visitor(link) as anna:
            await let_in(here, anna, link)
            async with visitor(link) as again:
                assert (await again.ask())["type"] == "welcome"
                again.name = "mallory"
                await again.connect()
                await again.send("REQ", "all", {})
                assert (await again.hear())[2].startswith("auth-required")
                assert (await again.publish(again.note("x")))[3].startswith("auth-required")


async def test_what_the_owner_forbids_ends_guests_at_once() -> None:
    async with place() as here:
        link = await opened(here)
        async with visitor(link) as anna:
            await let_in(here, anna, link)
            here.house.verdict = refuse("restricted", "This node keeps radio silence.")
            here.guests.recheck()
            assert (await ended(anna))[1] == "This node keeps radio silence."
            with pytest.raises(Refused, match="silence"):
                await opened(here)
        async with visitor(link) as anna:
            assert (await anna.ask())["type"] == "welcome"
            await anna.say(type="offer", sdp="v=0")
            assert (await anna.listen())["reason"] == "This node keeps radio silence."


async def test_a_guest_whose_channel_was_under_way_when_it_was_forbidden_does_not_get_in() -> None:
    async with place() as here:
        link = await opened(here)
        async with visitor(link) as anna:
            said = await anna.ask(link.partition("#")[2])
            await here.guests.admit(said["code"], "", None)
            assert (await anna.listen())["type"] == "welcome"
            offer = await DataChannelOffer.make("node", loopback=True)
            await anna.say(type="offer", sdp=offer.text)
            answer = await anna.listen()
            here.house.verdict = refuse("restricted", "This node keeps radio silence.")
            anna.pipe = await offer.connect(answer["sdp"])
            assert await ended(anna) == ("", "This node keeps radio silence.")
            assert not anna.heard
            assert not here.guests.connections


async def test_what_cannot_be_saved_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(_: object) -> None:
        raise Unavailable("The disk is full.")

    async with place() as here:
        link = await opened(here)
        async with visitor(link) as anna:
            code = (await anna.ask(link.partition("#")[2]))["code"]
            with monkeypatch.context() as patched:
                patched.setattr(here.house, "save", full)
                with pytest.raises(Unavailable):
                    await here.guests.admit(code, "", None)
            assert [one.state for one in here.guests.status()] == ["waiting"]
            await here.guests.admit(code, "", None)
            assert (await anna.listen())["type"] == "welcome"
            await anna.connect()
            with monkeypatch.context() as patched:
                patched.setattr(here.house, "save", full)
                with pytest.raises(Unavailable):
                    await here.guests.remove("anna")
            assert [one.state for one in here.guests.status()] == ["here"]
            await here.guests.remove("anna")
            assert (await ended(anna))[1] == service.REMOVED
        assert here.house.acts == ["guest-link", "guest-admitted anna", "guest-removed anna"]


async def test_two_that_are_let_in_at_once_are_both_saved() -> None:
    async with place() as here:
        links = [await opened(here) for _ in "ab"]
        async with visitor(links[0]) as anna, visitor(links[1], "ben") as ben:
            codes = [
                (await one.ask(link.partition("#")[2]))["code"]
                for one, link in zip((anna, ben), links, strict=True)
            ]
            await asyncio.gather(*(here.guests.admit(code, "", None) for code in codes))
        assert {guest.name for guest in here.house.saved[-1]} == {"anna", "ben"}


async def test_an_expired_guest_is_written_down_whatever_is_asked_meanwhile() -> None:
    async with place() as here:
        link = await opened(here)
        async with visitor(link) as anna:
            await let_in(here, anna, link)
            here.clock.now += 8 * 3600
            again = await opened(here)
            async with visitor(again, "ben") as ben:
                assert (await ben.ask(again.partition("#")[2]))["type"] == "wait"
                await here.guests.tend()
                assert (await ended(anna))[1] == service.TIME_IS_OVER
        assert here.house.acts[-1] == "guest-expired anna"
        assert here.house.saved[-1] == ()


# --- Bad input ---------------------------------------------------------------------------------------

BAD_DESCRIPTIONS = [
    "",
    "v=0",
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n",
    "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n",
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n" * 2,
    "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"
    + "a=candidate:x 1 udp 1 h.local 1 typ host\r\n" * 64,
    "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=fingerprint:sha-256 00\r\na=setup:what\r\n",
    "\x00" * 5_000,
    "x" * 33_000,
    "é",
]


@pytest.mark.parametrize("description", BAD_DESCRIPTIONS, ids=range(len(BAD_DESCRIPTIONS)))
async def test_a_forged_description_is_refused_with_a_reason_and_costs_nobody_else(description: str) -> None:
    async with place() as here:
        link = await opened(here)
        async with visitor(link) as anna:
            await let_in(here, anna, link)
            async with visitor(link) as again:
                assert (await again.ask())["type"] == "welcome"
                await again.say(type="offer", sdp=description)
                over = await again.listen()
                assert (over["type"], over["final"]) == ("over", False), over
                assert "description" in over["reason"] or "addresses" in over["reason"]
            assert (await anna.publish(anna.note("still here")))[2] is True


async def attacked(here: Place, anna: Visitor) -> tuple[str, str]:
    """How it ends for a guest that misbehaved: the notice, and the reason that the owner reads."""
    notice, reason = await ended(anna)
    await here.until_gone()
    assert here.house.acts[-1] == f"guest-expelled anna {reason}"
    assert reason in here.house.told[-1]
    assert not here.guests.status()
    return notice, reason


@pytest.mark.parametrize(
    ("piece", "reason"),
    [(b"\x07what", "no piece"), (b"", "no piece"), (b"\xff" * 100, "no piece")],
)
async def test_garbage_in_place_of_pieces_ends_the_stay(piece: bytes, reason: str) -> None:
    async with place() as here:
        link = await opened(here)
        async with visitor(link) as anna:
            await let_in(here, anna, link)
            assert anna.pipe is not None
            await anna.pipe.send(piece)
            notice, told = await attacked(here, anna)
            assert reason in told
            assert told in notice


async def test_a_message_that_never_ends_is_cut_off() -> None:
    async with place(RelaySection(max_event_bytes=65_536)) as here:
        link = await opened(here)
        async with visitor(link) as anna:
            await let_in(here, anna, link)
            assert anna.pipe is not None
            with contextlib.suppress(PipeClosed):
                while True:
                    await anna.pipe.send(MORE + b"x" * PIECE)
            assert "more than" in (await attacked(here, anna))[1]


async def test_what_is_no_message_is_answered_and_then_ends_the_stay() -> None:
    async with place() as here:
        link = await opened(here)
        async with visitor(link) as anna:
            await let_in(here, anna, link)
            for _ in range(guest_port.MAX_BROKEN - 1):
                await anna.send_bytes(b"[\xff\xfe")
                assert (await anna.hear())[0] == "NOTICE"
            await anna.send_bytes(b"hello")
            assert "again and again" in (await attacked(here, anna))[1]


async def test_long_messages_travel_in_pieces_both_ways() -> None:
    async with place() as here:
        link = await opened(here)
        async with visitor(link) as anna:
            await let_in(here, anna, link)
            long = signed("team", tags=(("h", "guests"),), content="x" * 100_000)
            await here.relay.publish(long)
            await anna.send(
                "REQ", "r", {"ids": [long.id], "#h": ["guests", *(f"{n:0999}" for n in range(50))]}
            )
            assert (await anna.hear())[2]["content"] == long.content
            wordy = anna.note("y" * 4097)
            assert (await anna.publish(wordy))[3].startswith("invalid")


async def test_a_flood_waits_on_the_guest_s_side_and_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest_port, "BURST", 20)
    async with place() as here:
        link = await opened(here)
        async with visitor(link) as anna:
            await let_in(here, anna, link)
            message = b'["EVENT",' + encode_event(anna.note("z" * 4000)) + b"]"

            async def flood() -> None:
                while True:
                    await anna.send_bytes(message)

            flooding = asyncio.create_task(flood())
            done, _ = await asyncio.wait([flooding], timeout=1.0)
            assert not done, "the credit holds it back"
            (port,) = here.guests._here.values()
            pipe: Any = port._pipe
            assert pipe._held <= 1024 * 1024 + 2 * PIECE
            assert port._session.offered <= 20 + 2 * guest_port.MESSAGES_PER_S
            assert (await here.relay.publish(signed("team", content="unharmed"))).accepted
            flooding.cancel()
            await here.guests.remove("anna")
            await here.until_gone()
