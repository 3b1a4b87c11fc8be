"""What goes between two stores: who may read, how fast, and links that break in the middle."""

from __future__ import annotations

import asyncio

import pytest

from meshconsole.content.exchange import exchange
from meshconsole.content.exchange.bitswap import Message, Payload, Want, decode_message, encode_message
from meshconsole.content.formats.block import Block
from meshconsole.content.formats.cid import RAW, Cid
from meshconsole.content.happenings import PeerMisbehaved
from meshconsole.core.errors import RemoteError, Unavailable
from tests.content.conftest import MIB, SMALL, Team, World, fetched, read_whole
from tests.content.deterministic import deterministic_bytes
from tests.content.wire import Wire, wired


async def test_what_a_peer_may_not_read_any_more_is_not_sent_though_it_was_asked_for_before(
    world: World,
) -> None:
    may_read = True
    sent: list[Message] = []
    sending, goes_on, news = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def send(message: bytes) -> None:
        sending.set()
        await goes_on.wait()
        sent.append(decode_message(message))
        news.set()

    async with world.content() as content:
        big = [
            Cid.parse((await content.add([deterministic_bytes(MIB, str(n))], "file")).cid) for n in range(4)
        ]
        small = [Cid.parse((await content.add([str(n).encode()], "file")).cid) for n in range(3)]
        content.attach("peer", send, lambda _: may_read)
        wants = [Want(cid, True, True) for cid in big] + [Want(cid, False, True) for cid in small]
        await content.receive("peer", encode_message(Message(tuple(wants[:1]))))
        await sending.wait()
        await content.receive("peer", encode_message(Message(tuple(wants[1:]))))
        may_read = False
        goes_on.set()
        while sum(len(each.payload) + len(each.haves) + len(each.dont_haves) for each in sent) < len(wants):
            news.clear()
            await news.wait()
        assert sum(len(message.payload) for message in sent) == 1
        assert not any(message.haves for message in sent)


async def test_peers_get_only_what_they_may_read(team: Team) -> None:
    me, p = await team.start("me"), await team.start("p")
    secret = await p.add([b"secret"], "secret")
    shared = await p.add([b"shared"], "shared")
    wire = Wire(me, p, left_may_read=lambda cid: cid == shared.cid)
    async with wired(wire):
        await fetched(me, shared.cid)
        with pytest.raises(Unavailable):
            await fetched(me, secret.cid, deadline_s=0.05)
    assert me.presence(secret.cid).bytes == 0
    assert wire.faults == []


async def nothing(_: bytes) -> None:
    return None


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (encode_message(Message(payload=(Payload(Cid.of(RAW, b"").prefix, b"spam"),))), "unsolicited-block"),
        (b"\xff", "bad-varint"),
        (bytes(4 * MIB + 1), "oversize"),
        (b"\x12\x00", "bad-message"),
    ],
)
async def test_bad_messages_are_refused(team: Team, message: bytes, code: str) -> None:
    me = await team.start("me")
    me.attach("peer", nothing, lambda _: True)
    with pytest.raises(RemoteError) as error:
        await me.receive("peer", message)
    assert error.value.code == code
    assert team.worlds["me"].heard_of(PeerMisbehaved)[0].peer == "peer"
    assert me.usage().blocks == 0
    await me.receive("a stranger", message)


async def test_blocks_are_loaded_when_the_link_takes_them(team: Team) -> None:
    p = await team.start("p")
    cids = [Cid.parse((await p.add([bytes([i]) * MIB], "file")).cid) for i in range(8)]
    taken: asyncio.Queue[bytes] = asyncio.Queue()
    may_go_on = asyncio.Semaphore(0)

    async def send(message: bytes) -> None:
        taken.put_nowait(message)
        await may_go_on.acquire()

    p.attach("slow", send, lambda _: True)
    await p.receive("slow", encode_message(Message(tuple(Want(cid, True) for cid in cids))))
    first = decode_message(await taken.get())
    assert [each.data for each in first.payload] == [bytes([0]) * MIB]
    assert taken.empty()
    await p.receive("slow", encode_message(Message(cancels=tuple(cids[2:]))))
    may_go_on.release()
    second = decode_message(await taken.get())
    assert [each.data for each in second.payload] == [bytes([1]) * MIB]
    may_go_on.release()
    await asyncio.sleep(0)
    assert taken.empty()


async def test_a_link_that_breaks_while_sending_is_let_go(team: Team) -> None:
    me, p = await team.start("me"), await team.start("p")
    added = await p.add([b"a file"], "file")

    async def send(_: bytes) -> None:
        raise Unavailable("The link is gone.")

    me.attach("broken", send, lambda _: True)
    looking = asyncio.ensure_future(fetched(me, added.cid))
    async with wired(Wire(me, p)):
        assert (await looking)[-1].state == "done"
    assert "broken" not in me._exchange._peers


async def test_a_peer_may_come_back_over_another_link_in_the_middle(team: Team) -> None:
    me, p = await team.start("me"), await team.start("p")
    data = deterministic_bytes(100_000)
    added = await p.add([data], "file", profile=SMALL)
    looking = asyncio.ensure_future(fetched(me, added.cid))
    for _ in range(5):
        wire = Wire(me, p, limit_bytes=10_000)
        async with wired(wire):
            await wire.is_full.wait()
    async with wired(Wire(me, p)):
        assert (await looking)[-1].state == "done"
    assert await read_whole(me, added.cid) == data
    assert team.worlds["me"].heard_of(PeerMisbehaved) == []


@pytest.mark.parametrize("steps", range(14))
async def test_a_link_that_is_cut_while_a_block_arrives_loses_nothing(
    team: Team, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    monkeypatch.setattr(exchange, "WRITES_AT_ONCE", 0)  # so that receiving waits for the disk
    me = await team.start("me")
    block = Block.of(RAW, b"arrives in the wrong moment")
    delivery = encode_message(Message(payload=(Payload(block.cid.prefix, block.data),)))
    have = encode_message(Message(haves=(block.cid,)))
    asked: asyncio.Queue[Message] = asyncio.Queue()

    async def send(message: bytes) -> None:
        asked.put_nowait(decode_message(message))

    me.attach("p", send, lambda _: True)
    looking = asyncio.ensure_future(fetched(me, str(block.cid)))
    await asked.get()
    await me.receive("p", have)
    assert (await asked.get()).wants[0].block
    arriving = asyncio.ensure_future(me.receive("p", delivery))
    for _ in range(steps):
        await asyncio.sleep(0)
    arriving.cancel()
    await asyncio.wait([arriving])
    me.detach("p")
    me.attach("p", send, lambda _: True)
    while not looking.done():
        asking = asyncio.ensure_future(asked.get())
        await asyncio.wait([asking, looking], return_when=asyncio.FIRST_COMPLETED)
        asking.cancel()
        if asking.done() and not asking.cancelled() and asking.result().wants:
            await me.receive("p", delivery)
    assert looking.result()[-1].state == "done"
    assert await read_whole(me, str(block.cid)) == block.data


async def test_each_peer_is_sent_at_its_own_rate(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    me, p = await team.start("me"), await team.start("p")
    added = await p.add([deterministic_bytes(60_000)], "file", profile=SMALL)
    monkeypatch.setattr(exchange, "BURST_BYTES", 10_000)
    p.limit_peers(1e6)
    now, waited = 0.0, []
    sleep = asyncio.sleep

    async def passes(delay_s: float) -> None:
        nonlocal now
        now += delay_s
        waited.append(delay_s)
        await sleep(0)

    monkeypatch.setattr(p._exchange, "_now", lambda: now)
    monkeypatch.setattr("meshconsole.content.exchange.exchange.asyncio.sleep", passes)
    async with wired(Wire(me, p)):
        await fetched(me, added.cid)
    # What does not fit into the burst has taken its time; the last message is paid for by the next one.
    assert 0 < sum(waited) <= 60_000 / 1e6
    assert me.presence(added.cid).complete
