"""Content stores that exchange blocks over libp2p, and peers that do not keep to it."""

from __future__ import annotations

import asyncio
import hashlib
import os
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING

import pytest

from meshconsole.content.exchange.bitswap import Message, Payload, Want, encode_message
from meshconsole.content.formats.cid import RAW, Cid
from meshconsole.content.happenings import PeerMisbehaved
from meshconsole.content.libp2p import connection as connections
from meshconsole.content.libp2p.blocks import BITSWAP
from meshconsole.core.errors import Unavailable
from tests.content.libp2p.peers import Party, party
from tests.content.libp2p.sites import Site, site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from meshconsole.content.libp2p.connection import Connection, Stream


async def _deaf(stream: Stream) -> None:
    """Reads nothing of what it is sent."""
    del stream
    await asyncio.Event().wait()


@asynccontextmanager
async def two(folder: Path) -> AsyncIterator[tuple[Site, Site]]:
    async with site(folder / "a", "a") as a, site(folder / "b", "b") as b:
        yield a, b


async def test_files_go_both_ways(tmp_path: Path) -> None:
    async with two(tmp_path) as (a, b):
        await a.party.host.dial(b.party.address)
        for giver, taker in ((a, b), (b, a)):
            data = os.urandom(3_500_000)
            added = await giver.content.add([data], "file")
            assert await taker.fetch(str(added.cid)) == hashlib.sha256(data).hexdigest()


async def test_a_fetch_goes_on_over_the_next_connection(tmp_path: Path) -> None:
    async with two(tmp_path) as (a, b):
        data = os.urandom(1_000_000)
        added = await a.content.add([data], "file")
        fetching = asyncio.create_task(b.fetch(str(added.cid)))
        (await b.party.host.dial(a.party.address)).close("Cut by the test.")
        await b.party.until(count_gone=1)
        await a.party.until(count_gone=1)
        await b.party.host.dial(a.party.address)
        assert await fetching == hashlib.sha256(data).hexdigest()


async def test_the_older_of_two_connections_is_used_when_the_newer_dies_while_sending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two(tmp_path) as (a, b):
        added = await b.content.add([os.urandom(1_000_000)], "file")
        # Both are under way before either is there: otherwise the first would be used for the second.
        await asyncio.gather(*(a.party.host.dial(b.party.address) for _ in range(2)))
        await a.party.until(2)
        newest = a.party.host.of(b.party.host.own.peer)
        assert newest is not None
        monkeypatch.setattr(newest, "open", _broken)
        await a.fetch(str(added.cid), deadline_s=5.0)
        assert a.party.gone == [newest]


async def _broken(_: object) -> None:
    raise Unavailable("Cut by the test.")


async def test_who_may_not_read_gets_nothing(tmp_path: Path) -> None:
    async with two(tmp_path) as (a, b):
        added = await a.content.add([b"sealed" * 100], "file")
        a.gives = False
        await b.party.host.dial(a.party.address)
        with pytest.raises(Unavailable, match="nothing of it is here"):
            await b.fetch(str(added.cid), deadline_s=0.2)


async def _meets(here: Site, liar: Party) -> Connection:
    """The liar speaks bitswap, and says what the test makes it say."""
    liar.rules.team = dict.fromkeys(BITSWAP, _deaf)
    await liar.host.dial(here.party.address)
    await here.party.until(1)
    await liar.until(1)
    return liar.host.all()[0]


async def test_an_unsolicited_block_ends_the_connection(tmp_path: Path) -> None:
    async with site(tmp_path / "a", "a") as a, party("liar") as liar:
        connection = await _meets(a, liar)
        stream, _ = await connection.open(BITSWAP)
        payload = Payload(Cid.of(RAW, b"").prefix, b"nobody asked for this")
        await stream.write_message(encode_message(Message(payload=(payload,))))
        await a.party.until(count_gone=1)
        assert "not asked for" in a.party.gone[0].reason
        assert a.world.heard_of(PeerMisbehaved)[0].peer == str(liar.host.own.peer)
        assert a.content.usage().blocks == 0


@pytest.mark.parametrize(
    "said",
    [b"\xff" * 9, b"\x80\x80\x80\x04" + bytes(100), b"\x04\xff\xff\xff\xff"],
    ids=["varint", "oversize", "protobuf"],
)
async def test_garbage_in_bitswap_ends_the_connection(tmp_path: Path, said: bytes) -> None:
    async with site(tmp_path / "a", "a") as a, party("liar") as liar:
        stream, _ = await (await _meets(a, liar)).open(BITSWAP)
        await stream.write(said)
        await a.party.until(count_gone=1)
        assert a.party.gone[0].reason


async def test_a_message_that_is_begun_must_be_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STALL_S", 0.1)
    async with site(tmp_path / "a", "a") as a, party("liar") as liar:
        stream, _ = await (await _meets(a, liar)).open(BITSWAP)
        await stream.write(b"\x80\x20only the beginning")
        await a.party.until(count_gone=1)
        assert "did not end" in a.party.gone[0].reason


async def test_a_peer_that_takes_nothing_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STALL_S", 0.1)
    async with two(tmp_path) as (a, b):
        added = await a.content.add([os.urandom(900_000)], "file")
        await b.party.host.dial(a.party.address)
        await b.party.until(1)
        for connection in b.party.host.all():
            connection.session.grant = lambda *_: None  # type: ignore[method-assign]
        with pytest.raises(Unavailable):
            await b.fetch(str(added.cid), deadline_s=0.5)
        await a.party.until(count_gone=1)
        assert "took nothing" in a.party.gone[0].reason


async def test_a_peer_that_asks_on_without_reading_is_cut_off(tmp_path: Path) -> None:
    async with site(tmp_path / "a", "a") as a, party("liar") as liar:
        connection = await _meets(a, liar)
        stream, _ = await connection.open(BITSWAP)
        asking = asyncio.create_task(_ask_on(stream))
        await a.party.until(count_gone=1)
        assert "without reading" in a.party.gone[0].reason
        with pytest.raises(Unavailable):
            await asking


async def _ask_on(stream: Stream) -> None:
    for start in count(0, 4000):
        wants = tuple(Want(Cid.of(RAW, b"%d" % (start + n)), block=False) for n in range(4000))
        await stream.write_message(encode_message(Message(wants)))
