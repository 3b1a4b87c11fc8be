"""Directories to blocks and back. Expected CIDs: IPIP-499 (CC0), which Kubo and Helia compute too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from meshconsole.content import directory
from meshconsole.content.directory import Directory, Entry, build_directory
from meshconsole.content.formats.block import Block
from meshconsole.content.formats.cid import DAG_PB, RAW, Cid
from meshconsole.content.formats.dagpb import Link, Node, encode_node
from meshconsole.content.formats.murmur import MURMUR3_X64_64, murmur3_x64_64
from meshconsole.content.formats.unixfs import Kind, UnixFs, encode_unixfs
from meshconsole.content.layout import UNIXFS_V0_2015, UNIXFS_V1_2025, Profile
from meshconsole.content.listing import DirectoryReader
from meshconsole.core.errors import RemoteError
from tests.content.deterministic import deterministic_bytes

LETTERS = "abcdefghijklmnopqrstuvwxyz01234567890-_"
LEAF = Cid.of(RAW, b"x")


def vector(profile: Profile, seed: str, count: int, length: int, last: int) -> list[Entry]:
    """`count` files of one byte; their names are drawn from the key stream."""
    stream = deterministic_bytes(1 << 20, seed)
    leaf = profile.leaf(b"x").block
    names: list[str] = []
    position = 0
    for index in range(count):
        size = last if index == count - 1 else length
        names.append("".join(LETTERS[byte % len(LETTERS)] for byte in stream[position : position + size]))
        position += size
    return [Entry(name, leaf.cid, len(leaf.data)) for name in names]


def read_back(root: Cid, blocks: dict[Cid, bytes]) -> list[Entry]:
    reader = DirectoryReader(root)
    entries: list[Entry] = []
    while (cid := reader.wanted) is not None:
        entries += reader.feed(blocks[cid])
    return entries


def blocks_of(built: Directory) -> dict[Cid, bytes]:
    return {branch.block.cid: branch.block.data for branch in built.branches}


@pytest.mark.parametrize(
    ("profile", "seed", "count", "length", "last", "expected"),
    [
        (
            UNIXFS_V0_2015,
            "hamt-unixfs-v0-2015",
            4096,
            30,
            30,
            "QmX5GtRk3TSSEHtdrykgqm4eqMEn3n2XhfkFAis5fjyZmN",
        ),
        (
            UNIXFS_V0_2015,
            "hamt-unixfs-v0-2015",
            4033,
            31,
            31,
            "QmeMiJzmhpJAUgynAcxTQYek5PPKgdv3qEvFsdV3XpVnvP",
        ),
        (
            UNIXFS_V1_2025,
            "hamt-unixfs-v1-2025",
            4766,
            11,
            21,
            "bafybeic3h7rwruealwxkacabdy45jivq2crwz6bufb5ljwupn36gicplx4",
        ),
        (
            UNIXFS_V1_2025,
            "hamt-unixfs-v1-2025",
            4766,
            11,
            22,
            "bafybeiegvuterwurhdtkikfhbxcldohmxp566vpjdofhzmnhv6o4freidu",
        ),
    ],
)
def test_ipip_499_directories(
    profile: Profile, seed: str, count: int, length: int, last: int, expected: str
) -> None:
    entries = vector(profile, seed, count, length, last)
    built = build_directory(entries, profile)
    assert str(built.cid) == expected
    found = read_back(built.cid, blocks_of(built))
    assert sorted(found, key=lambda entry: entry.name) == sorted(entries, key=lambda entry: entry.name)


def test_the_empty_directory() -> None:
    built = build_directory([], UNIXFS_V0_2015)
    assert str(built.cid) == "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"
    assert read_back(built.cid, blocks_of(built)) == []


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"hello", 0xCBD8A7B341BD9B02),
        (b"hello, world", 0x342FAC623A5EBC8E),
        (b"The quick brown fox jumps over the lazy dog.", 0xCD99481F9EE902C9),
    ],
)
def test_murmur3_as_published(data: bytes, expected: int) -> None:
    assert murmur3_x64_64(data) == expected


names = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1, max_size=12
).filter(lambda name: name not in (".", ".."))


@given(st.sets(names, max_size=40))
def test_what_goes_in_comes_out_sharded_or_not(names: set[str]) -> None:
    entries = {Entry(name, LEAF, 1) for name in names}
    for limit in (0, 1 << 20):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(directory, "SHARD_OVER_BYTES", limit)
            built = build_directory(entries, UNIXFS_V1_2025)
        assert set(read_back(built.cid, blocks_of(built))) == entries


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\0b", "a\nb", "\x1b[2J", "\x9b", "x" * 256, "\udcff"]
)
def test_names_that_lead_elsewhere_are_neither_written_nor_read(name: str) -> None:
    with pytest.raises(RemoteError) as error:
        build_directory([Entry(name, LEAF, 1)], UNIXFS_V1_2025)
    assert error.value.code == "bad-name"
    assert error.value.sentence.isprintable()
    if name.isascii():
        block = encode_node(Node((Link(LEAF, name, 1),), encode_unixfs(UnixFs(Kind.DIRECTORY))))
        with pytest.raises(RemoteError) as error:
            DirectoryReader(Cid.of(DAG_PB, block)).feed(block)
        assert error.value.code == "bad-name"


def test_a_name_may_not_be_given_twice() -> None:
    with pytest.raises(RemoteError):
        build_directory([Entry("a", LEAF, 1), Entry("a", Cid.of(RAW, b"y"), 1)], UNIXFS_V1_2025)
    block = encode_node(Node((Link(LEAF, "a"), Link(LEAF, "a")), encode_unixfs(UnixFs(Kind.DIRECTORY))))
    with pytest.raises(RemoteError):
        DirectoryReader(Cid.of(DAG_PB, block)).feed(block)


def shard(links: dict[str, Cid], **changes: object) -> Block:
    positions = {int(name[:2], 16) for name in links}
    bits = sum(1 << position for position in positions).to_bytes(32, "big").lstrip(b"\0")
    message = replace(UnixFs(Kind.HAMT_SHARD, bits, None, (), MURMUR3_X64_64, 256), **changes)
    return Block.of(
        DAG_PB, encode_node(Node(tuple(Link(links[n], n) for n in sorted(links)), encode_unixfs(message)))
    )


def place(name: str) -> str:
    return f"{murmur3_x64_64(name.encode()) >> 56:02X}"


LETTERED = next(name for name in LETTERS if not place(name).isdigit())


def test_a_shard_that_is_sound() -> None:
    block = shard({place("a") + "a": LEAF})
    assert DirectoryReader(block.cid).feed(block.data) == [Entry("a", LEAF, 0)]


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(shard({"00a": LEAF}), id="an entry in another's place"),
        pytest.param(shard({place("a") + "a": LEAF}, data=b"\x01"), id="bits that say something else"),
        pytest.param(shard({place("a") + "a": LEAF}, data=bytes(33)), id="too many bits"),
        pytest.param(shard({place("a") + "a": LEAF}, fanout=0), id="no fan-out"),
        pytest.param(shard({place("a") + "a": LEAF}, fanout=1 << 40), id="an enormous fan-out"),
        pytest.param(shard({place("a") + "a": LEAF}, fanout=24), id="a fan-out that is no power of two"),
        pytest.param(shard({place("a") + "a": LEAF}, hash_type=0x12), id="another hash"),
        pytest.param(shard({place("a") + "..": LEAF}), id="a name that leads elsewhere"),
        pytest.param(shard({place(LETTERED).lower() + LETTERED: LEAF}), id="small letters"),
    ],
)
def test_malformed_shards_are_refused(block: Block) -> None:
    with pytest.raises(RemoteError):
        DirectoryReader(block.cid).feed(block.data)


def test_a_bomb_of_shards_is_found_out_at_its_first_entry() -> None:
    """Eight levels of 256 links to one and the same shard would be 2^64 entries."""
    bottom = shard({f"{i:02X}{'a' * 8}{i}": LEAF for i in range(256)})
    blocks = {bottom.cid: bottom.data}
    top = bottom
    for _ in range(7):
        top = shard({f"{i:02X}": top.cid for i in range(256)})
        blocks[top.cid] = top.data
    reader = DirectoryReader(top.cid)
    for _ in range(7):
        assert reader.wanted is not None
        assert reader.feed(blocks[reader.wanted]) == []
    with pytest.raises(RemoteError):
        reader.feed(bottom.data)


def test_shards_nested_for_ever_and_empty_ones_are_refused() -> None:
    top = shard({})
    blocks = {top.cid: top.data}
    for _ in range(9):
        top = shard({"00": top.cid})
        blocks[top.cid] = top.data
    with pytest.raises(RemoteError):
        read_back(top.cid, blocks)
    empty = shard({})
    assert read_back(empty.cid, {empty.cid: empty.data}) == []
    over = shard({"00": empty.cid})
    with pytest.raises(RemoteError):
        read_back(over.cid, {over.cid: over.data, empty.cid: empty.data})


def test_a_shard_that_names_itself_is_refused() -> None:
    """No hash allows it; a reader that is fed the wrong block must end all the same."""
    block = shard({"00": LEAF})
    again = shard({"00": block.cid})
    reader = DirectoryReader(again.cid)
    for _ in range(8):
        reader.feed(again.data)
    with pytest.raises(RemoteError):
        reader.feed(again.data)


def test_the_number_of_entries_is_bounded() -> None:
    built = build_directory([Entry(str(i), LEAF, 1) for i in range(11)], UNIXFS_V1_2025)
    with pytest.raises(RemoteError):
        DirectoryReader(built.cid, max_entries=10).feed(built.branches[-1].block.data)


def test_a_file_is_not_a_directory() -> None:
    for block in (UNIXFS_V1_2025.leaf(b"file").block, UNIXFS_V0_2015.leaf(b"file").block):
        with pytest.raises(RemoteError) as error:
            DirectoryReader(block.cid).feed(block.data)
        assert error.value.code == "not-a-directory"


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    reader = DirectoryReader(Cid.of(DAG_PB, data))
    try:
        reader.feed(data)
    except RemoteError:
        return
