"""Two sites of one team that never meet, and what a courier carries between them."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from meshconsole.cli.main import main
from meshconsole.content.layout import Profile
from meshconsole.content.store.roots import TEAM
from meshconsole.core.errors import Fatal, Refused, RemoteError
from meshconsole.core.event import decode_event
from meshconsole.core.kinds import COURIER_RECEIPT
from meshconsole.core.sections import RelaySection
from meshconsole.node.courier import Courier
from meshconsole.node.courier_parts import Parts, boxes_of, parts_in
from meshconsole.node.state import NodeState
from meshconsole.relay.filter import Filter
from meshconsole.relay.relay import Relay
from meshconsole.team.courier import EVENT, Label, PartReader, PartWriter, receipt_in_words
from tests.content.conftest import World, read_whole
from tests.content.deterministic import deterministic_bytes
from tests.relay.making import NOW as EVENT_NOW
from tests.relay.making import Clock, Public, signed
from tests.relay.memory import MemoryEventStore
from tests.team.devices import NOW, Device, founder, join

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from meshconsole.content.service import Content

SMALL = Profile("small", 20_000, 4, raw_leaves=True, cid_version=1)
EVENTS = [signed(kind=1, content=str(n), created_at=EVENT_NOW - 100 + n) for n in range(30)]


@dataclass
class Site:
    relay: Relay
    content: Content
    courier: Courier

    async def ids(self) -> set[str]:
        wanted = Filter(ids=frozenset(event.id for event in EVENTS))
        return {decode_event(raw).id for raw in await self.relay.query([wanted], 100)}


def report(have: int, total: int | None, words: str = "") -> None:
    del have, total, words


@asynccontextmanager
async def a_site(path: Path, device: Device) -> AsyncIterator[Site]:
    os.mkdir(path)
    async with AsyncExitStack() as stack:
        relay = Relay(
            MemoryEventStore(Clock()),
            access=Public(),
            emit=lambda _: None,
            config=RelaySection(),
            clock=Clock(),
        )
        await relay.start()
        stack.push_async_callback(relay.stop)
        content = await stack.enter_async_context(World(path / "blobs").content())
        state = NodeState(path / "state.db", b"k" * 32)
        stack.callback(state.close)
        yield Site(
            relay,
            content,
            Courier(me=device.me, team=lambda: device.team, relay=relay, content=content, state=state),
        )


@pytest.fixture
def devices() -> tuple[Device, Device]:
    alpha = founder()
    bravo = join(alpha, "bravo")
    return alpha, bravo


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    (tmp_path / "stick").mkdir()
    return tmp_path / "stick"


async def test_two_sites_become_equal(
    tmp_path: Path, stick: Path, devices: tuple[Device, Device], capsys: pytest.CaptureFixture[str]
) -> None:
    data = deterministic_bytes(300_000)
    async with a_site(tmp_path / "a", devices[0]) as a, a_site(tmp_path / "b", devices[1]) as b:
        await a.relay.publish_many(EVENTS[:20])
        await b.relay.publish_many(EVENTS[10:])
        added = await a.content.add([data], "file", profile=SMALL)
        both = await a.content.add([b"both"], "both")
        await b.content.add([b"both"], "both")
        assert await b.courier.write_have(stick / "have", report) == {"events": 20, "files": 1}
        counts = await a.courier.pack(stick, stick / "have", 100_000, report)
        assert counts == {"events": 10, "files": 1, "left out": 0, "parts": counts["parts"]}
        assert counts["parts"] >= 3
        parts = parts_in(stick)
        assert all(part.stat().st_size <= 100_000 for part in parts)
        carried = b"".join(part.read_bytes() for part in parts)
        assert data[:64] not in carried
        assert EVENTS[0].id.encode() not in carried

        taken, receipt = await b.courier.take([stick], report)
        assert taken["events new"] == 10
        assert taken["parts"] == counts["parts"]
        assert await b.ids() == {event.id for event in EVENTS}
        assert await read_whole(b.content, added.cid) == data
        assert b.content.is_pinned(added.cid, TEAM)
        assert both.cid in [root.cid for root in b.content.roots()]
        assert await b.relay.query([Filter(kinds=frozenset({COURIER_RECEIPT}))], 1)
        assert main(["bundle", "receipt", receipt]) == 0
        assert devices[1].npub in capsys.readouterr().out
        again, nothing = await b.courier.take([stick], report)
        assert (again, nothing) == ({"parts taken before": counts["parts"]}, "")


async def test_packing_goes_on_where_the_stick_was_full(
    tmp_path: Path, stick: Path, devices: tuple[Device, Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = deterministic_bytes(300_000)
    async with a_site(tmp_path / "a", devices[0]) as a, a_site(tmp_path / "b", devices[1]) as b:
        await a.relay.publish_many(EVENTS)
        added = [await a.content.add([data, bytes([n])], f"file {n}", profile=SMALL) for n in range(3)]
        write = Parts._write
        room = [250_000]

        def full(self: Parts, block: bytes) -> None:
            room[0] -= len(block)
            if room[0] < 0:
                raise Fatal("The stick is full.")
            write(self, block)

        monkeypatch.setattr(Parts, "_write", full)
        monkeypatch.setattr("meshconsole.team.courier.BOX_BYTES", 30_000)
        with pytest.raises(Fatal):
            await a.courier.pack(stick, None, 100_000, report)
        begun = parts_in(stick)
        assert begun
        assert len(os.listdir(stick)) == len(begun)
        room[0] = 1 << 40
        counts = await a.courier.pack(stick, None, 100_000, report)
        assert parts_in(stick)[: len(begun)] == begun
        assert (counts["events"], counts["files"]) == (30, 3)
        await b.courier.take([stick], report)
        assert await b.ids() == {event.id for event in EVENTS}
        for each in added:
            assert b.content.presence(each.cid).complete


async def test_a_damaged_part_is_named_and_the_others_are_taken(
    tmp_path: Path, stick: Path, devices: tuple[Device, Device]
) -> None:
    async with a_site(tmp_path / "a", devices[0]) as a, a_site(tmp_path / "b", devices[1]) as b:
        await a.relay.publish_many(EVENTS)
        await a.courier.pack(stick, None, 4000, report)
        first, second, *_ = parts_in(stick)
        good = second.read_bytes()
        second.write_bytes(good[:-1])
        counts, receipt = await b.courier.take([stick], report)
        assert [name for name in counts if name.startswith(f"damaged: {second.name}")]
        assert receipt
        assert first.exists()
        missing = {event.id for event in EVENTS} - await b.ids()
        assert missing
        second.write_bytes(good)
        await b.courier.take([second], report)
        assert await b.ids() == {event.id for event in EVENTS}


async def test_only_devices_that_read_can_open_it(
    tmp_path: Path, stick: Path, devices: tuple[Device, Device]
) -> None:
    alpha, bravo = devices
    relay = join(alpha, "relay", "relay")
    late = join(alpha, "late")
    alpha.say(alpha.team.remove(late.npub, NOW))
    async with AsyncExitStack() as stack:
        sites = [
            await stack.enter_async_context(a_site(tmp_path / name, device))
            for name, device in (("a", alpha), ("r", relay), ("l", late), ("o", founder("other")))
        ]
        await sites[0].relay.publish_many(EVENTS)
        await sites[0].courier.pack(stick, None, 0, report)
        for site in sites[1:]:
            with pytest.raises(Refused):
                await site.courier.take([stick], report)
    del bravo


def a_part(devices: tuple[Device, Device], frames: int = 3) -> bytes:
    alpha, _ = devices
    writer = PartWriter(alpha.me, alpha.team.team_id, alpha.team.readers(), Label("ab" * 16, 0))
    out = writer.begin()
    for n in range(frames):
        out += writer.add(EVENT, bytes([n]) * 10)
    return out + writer.finish()


def test_a_part_cut_off_at_any_byte_is_refused(tmp_path: Path, devices: tuple[Device, Device]) -> None:
    whole = a_part(devices)
    path = tmp_path / "part"

    def read(data: bytes) -> list[object]:
        path.write_bytes(data)
        reader = PartReader(devices[1].me, devices[1].team.team_id)
        return [frame for box in boxes_of(path, reader) for frame in box]

    assert len(read(whole)) == 3
    header = int.from_bytes(whole[4:8], "big") + 8
    for end in [*range(0, header, 97), *range(header, len(whole))]:
        with pytest.raises(RemoteError):
            read(whole[:end])
    with pytest.raises(RemoteError):
        read(whole + b"x")
    for place in (header + 5, len(whole) - 1):
        with pytest.raises(RemoteError):
            read(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])


def test_a_receipt_in_words() -> None:
    assert (
        receipt_in_words('{"v":1,"parts":["ab-0"],"counts":{"blocks":6,"parts":1}}')
        == "took 6 blocks, 1 parts"
    )
    assert receipt_in_words('{"v":1,"parts":[],"counts":{}}') == "took nothing"
    for content in ("", "[]", "{", '{"v":2,"parts":[],"counts":{}}'):
        assert receipt_in_words(content) == "a receipt that cannot be read"
