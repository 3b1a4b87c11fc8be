"""Data channels that a teammate's device abuses: forged descriptions, offers without end."""

from __future__ import annotations

import asyncio
import os
import random
from typing import TYPE_CHECKING, cast

import pytest

from meshconsole.core.errors import RemoteError
from meshconsole.core.verdict import ACCEPTED
from meshconsole.mesh import datachannels
from meshconsole.mesh.datachannels import CHANGED, CHANGED_S, MAX_ANSWERS, DataChannels
from meshconsole.mesh.links.webrtc import DataChannelAnswer, DataChannelOffer
from meshconsole.mesh.messages import Describe
from tests.mesh.link_pair import Clock
from tests.mesh.nodes import SmallRoster, TestNode

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path
    from typing import Any

    from meshconsole.mesh.links.description import IceServer
    from meshconsole.mesh.links.pipe import Pipe
    from meshconsole.mesh.session import PeerSession

PEER = "f" * 64
NUMBERS = (0, 1, -1, 99_999, 2**31, 2**64)


class Signals:
    """Data channels without a mesh: what is spawned is counted and not run."""

    def __init__(self, me: str = "0" * 64) -> None:
        self.clock = Clock()
        self.spawned = 0
        self.sent: list[Describe] = []
        self.channels = DataChannels(
            me,
            self._no_servers,
            enabled=True,
            session=self._no_session,
            send_far=self._send,
            carry=lambda _npub, _pipe, _dialled: asyncio.sleep(0),
            spawn=self._spawn,
            admit=lambda _kind, _remote: ACCEPTED,
            now=self.clock,
            random=random.Random(1),
        )

    async def _no_servers(self) -> tuple[IceServer, ...]:
        return ()

    def _no_session(self, npub: str) -> PeerSession | None:
        return None

    def _send(self, npub: str, message: Describe) -> bool:
        self.sent.append(message)
        return True

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self.spawned += 1
        work.close()
        return asyncio.get_running_loop().create_task(asyncio.sleep(0), name=name)


async def test_an_offer_from_afar_is_said_again_until_it_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datachannels, "REPEAT_S", 0.001)
    signals, offer = Signals(), Describe(b"attempt1", "offer", "v=0")
    answer: asyncio.Future[Describe] = asyncio.get_running_loop().create_future()
    asking = asyncio.create_task(signals.channels._ask(PEER, offer, answer))
    while len(signals.sent) < 4:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0)
    answer.set_result(Describe(b"attempt1", "answer", "v=1"))
    assert (await asking).kind == "answer"
    assert set(signals.sent) == {offer}


def attempts(signals: Signals, seconds: int) -> int:
    """Each of which fails, without a link."""
    count, clock = 0, signals.clock
    for _ in range(seconds):
        clock.now += 1.0
        if signals.channels._wait(PEER) <= 0:
            count += 1
            signals.channels._failed(PEER, TimeoutError())
    return count


def test_what_fails_without_a_link_is_tried_less_and_less() -> None:
    signals = Signals()
    assert 3 <= attempts(signals, 240) <= 4
    attempts(signals, 3600)
    assert 5 <= attempts(signals, 3600) <= 12, "each five to ten minutes"


@pytest.mark.parametrize("tell", ["network", "person", "peer"])
def test_it_is_tried_at_once_when_something_has_changed(tell: str) -> None:
    signals = Signals()
    attempts(signals, 3600)
    for expected in (True, tell != "peer"):
        signals.channels._failed(PEER, TimeoutError())
        match tell:
            case "network":
                signals.channels.network_changed()
            case "person":
                signals.channels.try_soon(PEER)
            case _:
                signals.channels.signal(PEER, Describe(CHANGED, "refuse", ""))
        assert (signals.channels._wait(PEER) <= 0) == expected, "a peer may say so once a minute"


def test_a_refusal_that_comes_late_changes_nothing() -> None:
    signals = Signals()
    attempts(signals, 3600)
    signals.channels._failed(PEER, TimeoutError())
    before = signals.channels._wait(PEER)
    signals.channels.signal(PEER, Describe(os.urandom(8), "refuse", ""))
    assert signals.channels._wait(PEER) == before > 60


def test_who_does_not_offer_tells_who_does_once_a_minute() -> None:
    signals, lower = Signals("8" * 64), "0" * 64
    for _ in range(3):
        signals.channels.network_changed([lower, PEER])
        signals.channels.try_soon(lower)
    assert [message.attempt for message in signals.sent] == [CHANGED]
    signals.clock.now += CHANGED_S
    signals.channels.try_soon(lower)
    assert len(signals.sent) == 2


async def test_ten_thousand_offers_at_once_are_answered_once() -> None:
    signals = Signals()
    for _ in range(10_000):
        signals.channels.signal(PEER, Describe(os.urandom(8), "offer", "v=0"))
    assert signals.spawned == 1


async def test_ten_thousand_offers_of_a_patient_peer_leave_little_behind() -> None:
    signals = Signals()
    again = Describe(b"attempt1", "offer", "v=0")
    for number in range(10_000):
        signals.clock.now += 1.0
        signals.channels.signal(PEER, again if number % 2 else Describe(os.urandom(8), "offer", "v=0"))
    assert signals.spawned < 5_012, "one that was answered is not answered again, as long as it is remembered"
    assert len(signals.channels._offered) == 1
    assert not signals.channels._answering


async def test_while_many_answers_are_under_way_there_is_no_further_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signals, waits = Signals(), asyncio.Event()

    async def connect(_npub: str, _message: Describe) -> Pipe:
        await waits.wait()
        return cast("Pipe", None)

    monkeypatch.setattr(signals.channels, "_connect", connect)
    monkeypatch.setattr(signals.channels, "_carry", lambda *_: asyncio.Event().wait())
    offer = Describe(b"attempt1", "offer", "v=0")
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(signals.channels._answer(str(number), offer)) for number in range(MAX_ANSWERS)
        ]
        await asyncio.sleep(0)
        signals.channels.signal(PEER, offer)
        assert signals.spawned == 0
        waits.set()
        await asyncio.sleep(0)
        signals.channels.signal(PEER, offer)
        assert signals.spawned == 1, "channels that are open leave room for others"
        for task in tasks:
            task.cancel()


async def test_answers_that_nobody_awaits_and_refusals_are_dropped() -> None:
    signals = Signals()
    for number in range(10_000):
        kind = "answer" if number % 2 else "refuse"
        signals.channels.signal(PEER, Describe(os.urandom(8), kind, "v=0"))
    assert (signals.spawned, signals.sent, signals.channels._answers) == (0, [], {})


# --- Forged descriptions -----------------------------------------------------------------------------


def without_a_name(text: str, _dice: random.Random) -> str:
    return text.replace("a=mid:0", "a=mid")


def line_dropped(text: str, dice: random.Random) -> str:
    lines = text.splitlines()
    lines.pop(dice.randrange(len(lines)))
    return "\r\n".join(lines)


def line_doubled(text: str, dice: random.Random) -> str:
    lines = text.splitlines()
    lines.insert(dice.randrange(len(lines)), dice.choice(lines))
    return "\r\n".join(lines)


def line_cut(text: str, dice: random.Random) -> str:
    lines = text.splitlines()
    place = dice.randrange(len(lines))
    lines[place] = lines[place][: dice.randrange(len(lines[place]))]
    return "\r\n".join(lines)


def words_mixed(text: str, dice: random.Random) -> str:
    lines = text.splitlines()
    place = dice.randrange(len(lines))
    words = lines[place].split(" ")
    dice.shuffle(words)
    lines[place] = " ".join(words)
    return "\r\n".join(lines)


def number_changed(text: str, dice: random.Random) -> str:
    lines = text.splitlines()
    places = [place for place, line in enumerate(lines) if any(map(str.isdigit, line))]
    place = dice.choice(places)
    digits = [word for word in lines[place].replace(":", " ").split() if word.isdigit()] or ["0"]
    lines[place] = lines[place].replace(dice.choice(digits), str(dice.choice(NUMBERS)), 1)
    return "\r\n".join(lines)


def byte_changed(text: str, dice: random.Random) -> str:
    place = dice.randrange(len(text))
    return text[:place] + dice.choice("0 9:-x/=\x00~.") + text[place + 1 :]


FORGERS = (
    without_a_name,
    line_dropped,
    line_doubled,
    line_cut,
    words_mixed,
    number_changed,
    byte_changed,
)


@pytest.mark.slow
@pytest.mark.parametrize("forge", FORGERS)
async def test_a_forged_description_is_taken_or_is_the_peer_s_fault(
    forge: Callable[[str, random.Random], str],
) -> None:
    """Whatever aiortc makes of it: nothing but a RemoteError comes out, and no task stays behind."""
    dice = random.Random(forge.__name__)
    offer = await DataChannelOffer.make("b", loopback=True)
    try:
        before = len(asyncio.all_tasks())
        for _ in range(6):
            try:
                answer = await DataChannelAnswer.make(forge(offer.text, dice), "a", loopback=True)
            except RemoteError as error:
                assert error.code == "bad-sdp"  # noqa: PT017 - either outcome is right
            else:
                await answer.close()
        assert len(asyncio.all_tasks()) <= before
    finally:
        await offer.close()


@pytest.mark.slow
async def test_a_teammate_that_forges_descriptions_is_told_and_its_link_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roster = SmallRoster.of("alice", "bob")
    async with TestNode("alice", roster, tmp_path) as alice, TestNode("bob", roster, tmp_path) as bob:
        alice.dial(bob)
        await alice.until_linked(bob)
        await bob.until_linked(alice)
        alice.mesh._channels.enabled = True
        told: list[Describe] = []
        monkeypatch.setattr(bob.mesh._channels, "signal", lambda _npub, message: told.append(message))
        session = bob.mesh._links.sessions[alice.npub]
        good = await DataChannelOffer.make("alice", loopback=True)
        assert session.signal(Describe(b"attempt1", "offer", good.text.replace("a=mid:0", "a=mid")))
        await bob.until(lambda: bool(told))
        assert (told[0].attempt, told[0].kind) == (b"attempt1", "refuse")
        assert "cannot be used" in told[0].text
        assert told[0].text == alice.mesh._channels.error(bob.npub), "both know why"
        await good.close()
        sent = await bob.publish("still here")
        await alice.until_has(sent)
        assert len(alice.mesh._links.sessions[bob.npub].links) == 1
