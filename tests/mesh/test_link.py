"""Links over pipes in memory, with real keys: who is let in, what is carried, how they end."""

from __future__ import annotations

import asyncio
import os

import pytest

from meshconsole.core.errors import MeshconsoleError, Refused, RemoteError, Unavailable
from meshconsole.mesh.links import link as link_module
from meshconsole.mesh.links.frames import (
    HEADER,
    PIPE_MESSAGE,
    RECORD_PLAINTEXT,
    Channel,
    Frame,
    Precedence,
)
from meshconsole.mesh.links.heartbeat import GONE_S, SUSPECT_S
from meshconsole.mesh.messages import Ack, Pong, encode
from tests.mesh.devices import MC2, key_of
from tests.mesh.link_pair import Clock, CountingMeter, hello, make_link, open_pair
from tests.mesh.memory_pipe import memory_pipes


def anybody(_key: bytes) -> bool:
    return True


def nobody(_key: bytes) -> bool:
    return False


async def test_both_sides_know_each_other_and_the_link() -> None:
    async with open_pair() as (a, b):
        assert a.link.peer_key == key_of("bob")
        assert b.link.peer_key == key_of("alice")
        assert a.link.id == b.link.id
        assert len(a.link.id) == 8
        assert a.link.hello.log_id == "log-b"
        assert b.link.hello.log_id == "log-a"
        assert a.link.status().group == "X25519MLKEM768"


async def test_frames_of_every_channel_arrive() -> None:
    async with open_pair() as (a, b):
        frames = [
            Frame(Channel.EVENTS, Precedence.ROUTINE, b"event"),
            Frame(Channel.SIGNALS, Precedence.IMMEDIATE, b"signal"),
            Frame(Channel.BLOCKS, Precedence.BULK, os.urandom(3_000_000)),
        ]
        for frame in frames:
            await a.link.send(*frame)
        got = [await b.frames.get() for _ in frames]
        assert sorted(got) == sorted(frames)
        assert a.pipe.largest <= PIPE_MESSAGE
        assert b.link.status().bytes_in == a.link.status().bytes_out > 3_000_000


async def test_a_reader_that_waits_holds_the_sender_back() -> None:
    pipe_a, pipe_b = memory_pipes(limit=64 * 1024)
    a = make_link(pipe_a, "alice", anybody, dialled=True)
    b = make_link(pipe_b, "bob", anybody, dialled=False)
    await asyncio.gather(a.open(lambda _: hello()), b.open(lambda _: hello()))
    gate = asyncio.Event()
    read = 0

    async def slow(_frame: Frame) -> None:
        nonlocal read
        read += 1
        await gate.wait()

    async def produce() -> None:
        for _ in range(60):
            await a.send(Channel.BLOCKS, Precedence.BULK, bytes(100_000))

    async def discard(_frame: Frame) -> None:
        return None

    async with asyncio.TaskGroup() as group:
        group.create_task(a.run(discard))
        group.create_task(b.run(slow))
        producer = group.create_task(produce())
        done, _ = await asyncio.wait([producer], timeout=0.2)
        assert not done, "6 MB do not fit where nobody reads"
        assert read == 1
        gate.set()
        await producer
        a.close("done")


async def test_post_says_when_there_is_no_room() -> None:
    async with open_pair() as (a, b):
        assert a.link.post(Channel.BLOCKS, Precedence.BULK, bytes(2_000_000))
        assert not a.link.post(Channel.BLOCKS, Precedence.BULK, b"x")
        assert a.link.post(Channel.EVENTS, Precedence.PRIORITY, b"x")
        assert (await b.frames.get()).payload == b"x", "the higher precedence overtakes"


async def test_both_sides_know_why_a_link_was_closed() -> None:
    async with open_pair() as (a, b):
        a.link.close("A test ends it.")
        assert (await a.closed).reason == "A test ends it."
        closed = await b.closed
        assert closed.by_peer
        assert closed.reason == "A test ends it."
        assert str(closed) == "A test ends it. (said the peer)"
        with pytest.raises(Unavailable):
            await b.link.send(Channel.EVENTS, Precedence.ROUTINE, b"late")
        assert not b.link.post(Channel.EVENTS, Precedence.ROUTINE, b"late")


async def test_what_was_sent_before_the_close_arrives() -> None:
    async with open_pair() as (a, b):
        await a.link.send(Channel.EVENTS, Precedence.ROUTINE, b"last words")
        assert (await b.frames.get()).payload == b"last words"
        a.link.close("done")
        await b.closed


async def test_a_pipe_that_ends_closes_the_link() -> None:
    async with open_pair() as (a, b):
        await a.pipe.close("")
        assert (await a.closed).by_peer
        assert (await b.closed).by_peer


async def open_both(a_accepts: bool, b_accepts: bool) -> list[BaseException | object]:
    pipe_a, pipe_b = memory_pipes()
    a = make_link(pipe_a, "alice", lambda _: a_accepts, dialled=True)
    b = make_link(pipe_b, "bob", lambda _: b_accepts, dialled=False)
    return list(
        await asyncio.gather(a.open(lambda _: hello()), b.open(lambda _: hello()), return_exceptions=True)
    )


async def test_a_stranger_who_dials_is_refused_and_told() -> None:
    at_stranger, at_bob = await open_both(a_accepts=True, b_accepts=False)
    assert isinstance(at_bob, RemoteError)
    assert at_bob.code == "unknown-peer"
    assert isinstance(at_stranger, RemoteError)
    assert at_stranger.code == "refused-by-peer"


async def test_a_stranger_who_answers_is_refused() -> None:
    at_alice, at_stranger = await open_both(a_accepts=False, b_accepts=True)
    assert isinstance(at_alice, RemoteError)
    assert at_alice.code == "unknown-peer"
    assert isinstance(at_stranger, RemoteError)


async def test_another_suite_is_refused() -> None:
    pipe_a, pipe_b = memory_pipes()
    a = make_link(pipe_a, "alice", anybody, dialled=True)
    b = make_link(pipe_b, "bob", anybody, dialled=False, suite=MC2)
    results = await asyncio.gather(
        a.open(lambda _: hello()), b.open(lambda _: hello()), return_exceptions=True
    )
    assert all(isinstance(result, RemoteError) for result in results)


async def test_a_refusal_after_the_handshake_reaches_the_peer_in_words() -> None:
    pipe_a, pipe_b = memory_pipes()
    a = make_link(pipe_a, "alice", anybody, dialled=True)
    b = make_link(pipe_b, "bob", anybody, dialled=False)

    def refuse(_key: bytes) -> object:
        raise Refused("restricted", "This node has no room for another link.")

    results = await asyncio.gather(a.open(lambda _: hello()), b.open(refuse), return_exceptions=True)  # type: ignore[arg-type]
    assert isinstance(results[0], Unavailable)
    assert results[0].sentence == "This node has no room for another link."


async def test_another_version_of_the_protocol_is_refused_in_words() -> None:
    pipe_a, pipe_b = memory_pipes()
    a = make_link(pipe_a, "alice", anybody, dialled=True)
    b = make_link(pipe_b, "bob", anybody, dialled=False)
    at_a, at_b = await asyncio.gather(
        a.open(lambda _: hello()), b.open(lambda _: hello(version=99)), return_exceptions=True
    )
    assert isinstance(at_a, RemoteError)
    assert "version 99" in at_a.sentence
    assert not isinstance(at_b, MeshconsoleError) or "version" in str(at_b)


async def test_a_peer_that_never_speaks_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "HANDSHAKE_S", 0.05)
    pipe_a, pipe_b = memory_pipes()
    with pytest.raises(Unavailable, match="not ready within"):
        await make_link(pipe_a, "alice", anybody, dialled=True).open(lambda _: hello())
    with pytest.raises(Unavailable):
        await pipe_b.send(b"too late")


@pytest.mark.parametrize(
    "junk", [b"GET / HTTP/1.1\r\n\r\n", bytes(16_000), b"\x16\x03\x01\xff\xff" + bytes(99)]
)
async def test_garbage_instead_of_a_handshake_is_an_error_of_the_peer(junk: bytes) -> None:
    pipe_a, pipe_b = memory_pipes()
    await pipe_a.send(junk)
    await pipe_a.close("")
    with pytest.raises((RemoteError, Unavailable)):
        await make_link(pipe_b, "bob", anybody, dialled=False).open(lambda _: hello())


async def test_garbage_inside_an_open_link_closes_it_with_a_reason_on_both_sides() -> None:
    async with open_pair() as (a, b):
        await a.pipe.send(b"\x17\x03\x03\x00\x20" + bytes(32))
        closed = await b.closed
        assert "broke the TLS protocol" in closed.reason
        assert (await a.closed).by_peer


@pytest.mark.parametrize(
    ("plaintext", "words"),
    [
        (HEADER.pack(0xFFFFFFFF, 0), "fragment of 4294967295 bytes"),
        (HEADER.pack(5, 0x3F) + b"hello", "unknown lane"),
        (HEADER.pack(3, 0) + b"\xc1\xc1\xc1", "malformed control message"),
        (HEADER.pack(len(encode(hello())), 0) + encode(hello()), "introduced itself twice"),
    ],
    ids=["oversized", "lane", "control", "hello"],
)
async def test_a_broken_frame_closes_the_link_with_a_reason_on_both_sides(
    plaintext: bytes, words: str
) -> None:
    async with open_pair() as (a, b):
        await a.link._secure.send(plaintext)
        assert words in (await b.closed).reason
        assert words in (await a.closed).reason


async def test_a_truncated_frame_and_then_the_end_is_just_an_end() -> None:
    async with open_pair() as (a, b):
        await a.link._secure.send(HEADER.pack(1000, Channel.EVENTS) + b"only this")
        a.link.close("Gone in mid-frame.")
        assert (await b.closed).by_peer
        assert b.frames.empty()


async def test_a_handler_that_finds_a_fault_closes_the_link() -> None:
    pipe_a, pipe_b = memory_pipes()
    a = make_link(pipe_a, "alice", anybody, dialled=True)
    b = make_link(pipe_b, "bob", anybody, dialled=False)
    await asyncio.gather(a.open(lambda _: hello()), b.open(lambda _: hello()))

    async def strict(_frame: Frame) -> None:
        raise RemoteError("bad-batch", "The peer sent a batch out of order.")

    async def ignore(_frame: Frame) -> None:
        return None

    a.post(Channel.EVENTS, Precedence.ROUTINE, encode(Ack(1, 1)))
    at_a, at_b = await asyncio.gather(a.run(ignore), b.run(strict))
    assert at_a.reason == at_b.reason == "The peer sent a batch out of order."
    assert at_a.by_peer
    assert not at_b.by_peer


async def test_silence_makes_a_link_suspect_and_then_ends_it() -> None:
    clock = Clock()
    async with open_pair(clock) as (a, b):
        b.pipe.is_frozen = a.pipe.is_frozen = True
        clock.now += SUSPECT_S + 1
        assert a.link.is_suspect
        assert a.link.closed is None
        clock.now += GONE_S
        a.link.probe()
        assert "Nothing was heard" in (await a.closed).reason


async def test_round_trip_time_and_hearing_are_known_after_the_first_pings() -> None:
    async with open_pair() as (a, b):
        assert (a.link.hears_us, a.link.rtt_s) == (None, None)
        pinged: asyncio.Queue[int] = asyncio.Queue()
        b.link.on_head = pinged.put_nowait
        a.link.probe()
        await pinged.get()
        # The pong has gone into a lane that overtakes this.
        b.link.post(Channel.EVENTS, Precedence.ROUTINE, b"after the pong")
        await a.frames.get()
        assert a.link.hears_us
        assert a.link.status().rtt_ms is not None


async def test_heads_and_lost_links_are_told() -> None:
    async with open_pair() as (a, b):
        heads: asyncio.Queue[int] = asyncio.Queue()
        lost: asyncio.Queue[bytes] = asyncio.Queue()
        b.link.on_head = heads.put_nowait
        b.link.on_lost = lost.put_nowait
        a.link.head = lambda: 77
        a.link.say_lost(b"somelink")
        assert await lost.get() == b"somelink"
        a.link._heart._next_ping = 0.0
        a.link.probe()
        while await heads.get() != 77:
            pass


async def test_every_byte_is_metered() -> None:
    pipe_a, pipe_b = memory_pipes()
    meters = CountingMeter(), CountingMeter()
    a = make_link(pipe_a, "alice", anybody, dialled=True, meter=meters[0])
    b = make_link(pipe_b, "bob", anybody, dialled=False, meter=meters[1])
    await asyncio.gather(a.open(lambda _: hello()), b.open(lambda _: hello()))
    assert meters[0].sent == meters[1].received > 5000
    assert meters[1].sent == meters[0].received > 5000


async def test_a_cancelled_link_says_goodbye() -> None:
    async with open_pair() as (a, b):
        del a
        assert b.link.closed is None
    assert (await b.closed).reason == "The test is over."


async def test_unknown_pongs_are_harmless() -> None:
    async with open_pair() as (a, b):
        a.link.post(Channel.CONTROL, Precedence.FLASH, encode(Pong(12345)))
        a.link.post(Channel.EVENTS, Precedence.ROUTINE, b"x" * RECORD_PLAINTEXT)
        assert len((await b.frames.get()).payload) == RECORD_PLAINTEXT
        assert b.link.closed is None


async def test_each_side_learns_how_far_the_others_clock_is() -> None:
    heard: asyncio.Queue[tuple[int, str, float]] = asyncio.Queue()
    async with open_pair() as (a, b):
        b.link.tell_clock = lambda: (1_800_000_123_456, "ntp")
        a.link.on_clock = lambda ms, quality, took_s: heard.put_nowait((ms, quality, took_s))
        a.link.probe()
        async with asyncio.timeout(5):
            wall_ms, quality, took_s = await heard.get()
    assert (wall_ms, quality) == (1_800_000_123_456, "ntp")
    assert took_s >= 0.0
