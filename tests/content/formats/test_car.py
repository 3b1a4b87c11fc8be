"""CAR files: the format, and files carried from one store to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.content.formats.block import Block
from meshconsole.content.formats.car import MAX_ROOTS, CarReader, encode_header, encode_section
from meshconsole.content.formats.cid import IDENTITY, RAW, Cid, Prefix
from meshconsole.content.layout import Profile
from meshconsole.core.errors import Refused, RemoteError, Unavailable
from tests.content.conftest import World, read_whole
from tests.content.deterministic import deterministic_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from meshconsole.content.service import Content

SMALL = Profile("small", 1000, 8, raw_leaves=True, cid_version=1)
# The header of the basic fixture of the CAR specification: two dag-cbor roots.
FIXTURE = bytes.fromhex(
    "63a265726f6f747382"
    "d82a58250001711220f88bc853804cf294fe417e4fa83028689fcdb1b1592c5102e1474dbc200fab8b"
    "d82a5825000171122069ea0740f9807a28f4d932c62e7c1c83be055e55072c90266ab3e79df63a365b"
    "6776657273696f6e01"
)

cids = st.binary(max_size=5).map(lambda data: Cid.of(RAW, data)) | st.binary(max_size=5).map(Cid.v0)


def read(data: bytes, piece: int = 1 << 20) -> tuple[tuple[Cid, ...], list[tuple[Cid, bytes]]]:
    reader = CarReader()
    sections = [
        section
        for start in range(0, len(data), piece)
        for section in reader.push(data[start : start + piece])
    ]
    return reader.finish(), sections


def test_the_header_of_the_specification() -> None:
    roots, sections = read(FIXTURE)
    assert [root.codec for root in roots] == [0x71, 0x71]
    assert sections == []
    assert encode_header(roots) == FIXTURE


@given(
    st.lists(cids, max_size=30),
    st.lists(st.tuples(cids, st.binary(max_size=40)), max_size=6),
    st.integers(1, 50),
)
def test_round_trip_in_pieces_of_any_size(
    roots: list[Cid], sections: list[tuple[Cid, bytes]], piece: int
) -> None:
    data = encode_header(roots) + b"".join(encode_section(cid, block) for cid, block in sections)
    assert read(data, piece) == (tuple(roots), sections)


@given(st.binary(max_size=120))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        roots, sections = read(data, 7)
    except RemoteError:
        return
    again = encode_header(roots) + b"".join(encode_section(cid, block) for cid, block in sections)
    assert again == data


@given(st.integers(0, len(FIXTURE) - 1), st.integers(1, 255))
def test_a_damaged_header_is_read_or_refused(index: int, change: int) -> None:
    damaged = bytearray(FIXTURE)
    damaged[index] ^= change
    try:
        roots, _ = read(bytes(damaged))
    except RemoteError:
        return
    assert roots != read(FIXTURE)[0]


def section(header: bytes) -> bytes:
    return bytes((len(header),)) + header


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x00", id="empty section"),
        pytest.param(FIXTURE[:-1], id="cut off in the header"),
        pytest.param(FIXTURE + b"\x30" + bytes(10), id="cut off in a section"),
        pytest.param(FIXTURE + b"\x80", id="cut off in a length"),
        pytest.param(FIXTURE + b"\xff\xff\xff\x7f", id="section too long"),
        pytest.param(FIXTURE + b"\x03abc", id="section without a CID"),
        pytest.param(b"\xff\xff\xff\xff\x7f", id="header too long"),
        pytest.param(b"PK\x03\x04" + bytes(100), id="another format"),
        pytest.param(b"\x0a\xa1\x67version\x02" + bytes(40), id="version 2 without blocks"),
        pytest.param(section(b"\xa2\x65roots\x80\x67version\x03"), id="version 3"),
        pytest.param(section(b"\xa2\x65roots\x98\x00\x67version\x01"), id="longer number than needed"),
        pytest.param(
            section(b"\xa2\x65roots\x81\xd8\x2a\x41\x01\x67version\x01"), id="root without its zero"
        ),
        pytest.param(section(b"\xa2\x65roots\x99\xff\xff\x67version\x01"), id="more roots than there are"),
        pytest.param(encode_header([Cid.of(RAW, b"")] * (MAX_ROOTS + 1)), id="too many roots"),
    ],
)
def test_refuses(data: bytes) -> None:
    with pytest.raises(RemoteError):
        read(data)


async def car_of(content: Content, *cids: str) -> bytes:
    return b"".join([piece async for piece in content.export_car(*cids)])


async def test_files_are_carried(tmp_path: Path) -> None:
    data, other = deterministic_bytes(20_000), b"a note"
    here, there = World(tmp_path / "here"), World(tmp_path / "there")
    async with here.content() as content:
        one = await content.add([data], "one", profile=SMALL)
        two = await content.add([other], "two")
        car = await car_of(content, one.cid, two.cid)
    async with there.content() as content:
        imported = await content.import_car([car[:5000], car[5000:]], "carried")
        assert imported.roots == (one.cid, two.cid)
        assert imported.blocks == one.blocks + two.blocks
        assert await read_whole(content, one.cid) == data
        assert await read_whole(content, two.cid) == other
        assert content.is_pinned(one.cid)
        assert content.usage().bytes == there.quota.used
        assert await car_of(content, one.cid, two.cid) == car


async def test_what_is_not_whole_is_not_exported(world: World) -> None:
    async with world.content() as content:
        with pytest.raises(Unavailable):
            await car_of(content, str(Cid.of(RAW, b"absent")))
        with pytest.raises(RemoteError):
            await car_of(content, "not a cid")


async def test_a_damaged_car_file_leaves_nothing(world: World) -> None:
    good, bad = Block.of(RAW, b"good"), Block.of(RAW, b"bad")
    car = encode_header([good.cid]) + encode_section(good.cid, b"good")
    async with world.content() as content:
        for tail in (encode_section(bad.cid, b"BAD"), b"\x30cut off"):
            with pytest.raises(RemoteError):
                await content.import_car([car + tail])
            assert world.block_files() == []
            assert world.quota.used == content.usage().bytes == 0


async def test_the_quota_holds_for_imports(world: World) -> None:
    world.quota.limit = 5 * 4096
    blocks = [Block.of(RAW, bytes([i]) * 4096) for i in range(8)]
    car = encode_header([blocks[0].cid]) + b"".join(encode_section(b.cid, b.data) for b in blocks)
    async with world.content() as content:
        with pytest.raises(Refused):
            await content.import_car([car])
        assert world.block_files() == []


async def test_what_is_not_supported_is_counted(world: World) -> None:
    json, inline = Block.of(0x0129, b"{}"), Prefix(1, RAW, IDENTITY).name(b"inline")
    blake = Cid(1, RAW, 0xB220, bytes(32))
    good = Block.of(RAW, b"good")
    car = encode_header([good.cid]) + b"".join(
        encode_section(cid, data)
        for cid, data in ((json.cid, b"{}"), (inline, b"inline"), (blake, b"x"), (good.cid, b"good"))
    )
    async with world.content() as content:
        imported = await content.import_car([car], pinned=False)
        assert (imported.blocks, imported.skipped) == (1, 3)
        assert not content.is_pinned(str(good.cid))
        assert await read_whole(content, str(good.cid)) == b"good"


def version_2(inner: bytes, *, padding: int = 0, index: bytes = b"", size: int | None = None) -> bytes:
    start = 51 + padding
    places = (start, len(inner) if size is None else size, start + len(inner))
    return (
        b"\x0a\xa1\x67version\x02"
        + bytes(16)
        + b"".join(place.to_bytes(8, "little") for place in places)
        + bytes(padding)
        + inner
        + index
    )


@given(
    st.lists(st.tuples(cids, st.binary(max_size=40)), max_size=6),
    st.integers(0, 30),
    st.binary(max_size=30),
    st.integers(1, 50),
)
def test_version_2_is_read(sections: list[tuple[Cid, bytes]], padding: int, index: bytes, piece: int) -> None:
    inner = encode_header([]) + b"".join(encode_section(cid, block) for cid, block in sections)
    assert read(version_2(inner, padding=padding, index=index), piece) == ((), sections)


@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_a_file_cut_off_at_any_byte_is_refused(piece: int) -> None:
    blocks = [Block.of(RAW, bytes([i]) * 30) for i in range(2)]
    ends = [len(FIXTURE)]
    data = FIXTURE
    for block in blocks:
        data += encode_section(block.cid, block.data)
        ends.append(len(data))
    for end in range(len(data)):
        if end in ends:
            continue  # between two sections a file of version 1 may end
        with pytest.raises(RemoteError):
            read(data[:end], piece)
    two = version_2(data)
    for end in range(len(two)):
        with pytest.raises(RemoteError):
            read(two[:end], piece)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(version_2(b""), id="nothing inside"),
        pytest.param(version_2(FIXTURE, size=1 << 62), id="more than there is"),
        pytest.param(version_2(FIXTURE, size=len(FIXTURE) - 1), id="less than there is"),
        pytest.param(version_2(version_2(FIXTURE)), id="version 2 in version 2"),
        pytest.param(version_2(FIXTURE)[:27] + bytes(8) + version_2(FIXTURE)[35:], id="data in the header"),
    ],
)
def test_malformed_files_of_version_2_are_refused(data: bytes) -> None:
    with pytest.raises(RemoteError):
        read(data)
