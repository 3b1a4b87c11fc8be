"""Files to blocks and back. Expected CIDs: IPIP-499 (CC0), which Kubo and Helia compute too."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from meshconsole.content.formats.block import Block
from meshconsole.content.formats.cid import DAG_PB, RAW, SHA2_512, Cid, Prefix
from meshconsole.content.formats.dagpb import Link, Node, decode_node, encode_node
from meshconsole.content.formats.unixfs import Kind, UnixFs, decode_unixfs, encode_unixfs
from meshconsole.content.layout import PROFILES, UNIXFS_V0_2015, UNIXFS_V1_2025, Profile, Tree, build, chunked
from meshconsole.content.reader import MAX_DEPTH, FileReader
from meshconsole.core.errors import LocalError, RemoteError
from tests.content.deterministic import deterministic

if TYPE_CHECKING:
    from collections.abc import Iterable

SMALL_V0 = Profile("small-v0", 4, 3, raw_leaves=False, cid_version=0)
SMALL_V1 = Profile("small-v1", 4, 3, raw_leaves=True, cid_version=1)


def root_of(pieces: Iterable[bytes], profile: Profile) -> str:
    last: Block | None = None
    for block in build(pieces, profile):
        last = block
    assert last is not None
    return str(last.cid)


@pytest.mark.parametrize(
    ("profile", "size", "seed", "expected"),
    [
        (UNIXFS_V0_2015, 262144, "chunk-v0-seed", "QmWmRj3dFDZdb6ABvbmKhEL6TmPbAfBZ1t5BxsEyJrcZhE"),
        (UNIXFS_V0_2015, 262145, "chunk-v0-seed", "QmYyLxtzZyW22zpoVAtKANLRHpDjZtNeDjQdJrcQNWoRkJ"),
        (UNIXFS_V0_2015, 174 * 262144, "v0-seed", "QmUbBALi174SnogsUzLpYbD4xPiBSFANF4iztWCsHbMKh2"),
        (UNIXFS_V0_2015, 174 * 262144 + 1, "v0-seed", "QmV81WL765sC8DXsRhE5fJv2rwhS4icHRaf3J9Zk5FdRnW"),
        (
            UNIXFS_V1_2025,
            1 << 20,
            "chunk-v1-seed",
            "bafkreiacndfy443ter6qr2tmbbdhadvxxheowwf75s6zehscklu6ezxmta",
        ),
        (
            UNIXFS_V1_2025,
            (1 << 20) + 1,
            "chunk-v1-seed",
            "bafybeigmix7t42i6jacydtquhet7srwvgpizfg7gjbq7627d35mjomtu64",
        ),
        pytest.param(
            UNIXFS_V1_2025,
            1 << 30,
            "v1-2025-seed",
            "bafybeihmf37wcuvtx4hpu7he5zl5qaf2ineo2lqlfrapokkm5zzw7zyhvm",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            UNIXFS_V1_2025,
            (1 << 30) + 1,
            "v1-2025-seed",
            "bafybeibdsi225ugbkmpbdohnxioyab6jsqrmkts3twhpvfnzp77xtzpyhe",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_ipip_499_files(profile: Profile, size: int, seed: str, expected: str) -> None:
    assert root_of(deterministic(size, seed), profile) == expected


@pytest.mark.parametrize(
    ("profile", "data", "expected"),
    [
        ("unixfs-v0-2015", b"hello world", "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD"),
        ("unixfs-v1-2025", b"hello world", "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"),
        ("unixfs-v0-2015", b"", "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"),
        ("unixfs-v1-2025", b"", "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"),
    ],
)
def test_small_files(profile: str, data: bytes, expected: str) -> None:
    assert root_of([data], PROFILES[profile]) == expected


def test_the_vector_data_is_the_documented_key_stream() -> None:
    # The pieces it is drawn in must not matter.
    assert b"".join(deterministic(1000, "s", piece=7)) == b"".join(deterministic(1000, "s"))


def read_back(root: Cid, blocks: dict[Cid, bytes]) -> bytes:
    reader, out = FileReader(root), io.BytesIO()
    while (cid := reader.wanted) is not None:
        assert cid.matches(blocks[cid])
        out.write(reader.feed(blocks[cid]))
    assert reader.size == len(out.getvalue())
    return out.getvalue()


@pytest.mark.parametrize("profile", [SMALL_V0, SMALL_V1])
@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 11, 12, 13, 35, 36, 37, 48, 107, 108, 109, 325])
def test_boundaries_of_chunks_and_levels(profile: Profile, size: int) -> None:
    data = b"".join(deterministic(size, "boundaries"))
    blocks = list(build([data], profile))
    root = blocks[-1].cid
    store = {block.cid: block.data for block in blocks}
    assert read_back(root, store) == data
    check_tree(root, store, profile)


def check_tree(root: Cid, store: dict[Cid, bytes], profile: Profile) -> None:
    """Sizes are exact on every level and all leaves are equally deep."""
    depths: set[int] = set()

    def visit(cid: Cid, depth: int) -> tuple[int, int]:
        block = store[cid]
        if cid.codec == RAW:
            depths.add(depth)
            return len(block), len(block)
        node = decode_node(block)
        assert node.data is not None
        message = decode_unixfs(node.data)
        assert message.kind == Kind.FILE
        assert len(node.links) <= profile.max_links
        if not node.links:
            depths.add(depth)
            return len(message.data or b""), len(block)
        found = [visit(link.cid, depth + 1) for link in node.links]
        assert [size for size, _ in found] == list(message.blocksizes)
        assert [tsize for _, tsize in found] == [link.tsize for link in node.links]
        assert message.filesize == sum(message.blocksizes)
        return message.filesize, len(block) + sum(tsize for _, tsize in found)

    visit(root, 0)
    assert len(depths) == 1


@given(st.lists(st.binary(max_size=11), max_size=12), st.sampled_from([SMALL_V0, SMALL_V1]))
def test_pieces_do_not_matter(pieces: list[bytes], profile: Profile) -> None:
    data = b"".join(pieces)
    blocks = list(build(pieces, profile))
    assert [block.cid for block in blocks] == [block.cid for block in build([data], profile)]
    assert read_back(blocks[-1].cid, {block.cid: block.data for block in blocks}) == data


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(1, 9))
def test_chunks_are_whole_but_the_last(pieces: list[bytes], chunk_bytes: int) -> None:
    chunks = list(chunked(pieces, chunk_bytes))
    assert b"".join(chunks) == b"".join(pieces)
    assert all(len(chunk) == chunk_bytes for chunk, _ in pairwise(chunks))
    assert 0 < len(chunks[-1]) <= chunk_bytes or chunks == [b""]


def test_a_full_tree_is_folded_before_it_grows() -> None:
    tree = Tree(SMALL_V1)
    cids = [Cid.of(RAW, bytes([i])) for i in range(4)]
    for cid in cids[:3]:
        tree.push(cid, 1, 1)
    with pytest.raises(LocalError):
        tree.push(cids[3], 1, 1)
    (branch,) = tree.fold()
    assert branch.children == tuple(cids[:3])
    tree.push(cids[3], 1, 1)
    assert tree.size == 4
    root, branches = tree.finish()
    assert [last.children for last in branches] == [(cids[3],), (branch.block.cid, branches[0].block.cid)]
    assert root == branches[-1].block.cid


def test_a_tree_without_leaves_has_no_root() -> None:
    with pytest.raises(LocalError):
        Tree(SMALL_V1).finish()


# Reading what others wrote


def file_node(message: UnixFs, *children: Block) -> Block:
    links = tuple(Link(child.cid, "", len(child.data)) for child in children)
    return Block.of(DAG_PB, encode_node(Node(links, encode_unixfs(message))))


PART = Block.of(RAW, b"part")
GOOD = UnixFs(Kind.FILE, filesize=8, blocksizes=(4, 4))


def read_all(root: Block, *others: Block) -> bytes:
    return read_back(root.cid, {block.cid: block.data for block in (root, *others)})


def test_reads_data_inside_of_inner_blocks() -> None:
    root = file_node(UnixFs(Kind.FILE, b"head ", 9, (4,)), PART)
    assert read_all(root, PART) == b"head part"


def test_reads_a_file_that_does_not_claim_its_size() -> None:
    assert read_all(file_node(replace(GOOD, filesize=None), PART, PART), PART) == b"partpart"


def test_reads_sha2_512() -> None:
    part = Block.received(Prefix(1, RAW, SHA2_512), b"part")
    assert read_all(file_node(GOOD, part, part), part) == b"partpart"


@pytest.mark.parametrize(
    ("message", "children", "code"),
    [
        pytest.param(replace(GOOD, filesize=9), 2, "bad-unixfs", id="wrong total"),
        pytest.param(
            replace(GOOD, blocksizes=(4,), filesize=4), 2, "bad-unixfs", id="fewer sizes than links"
        ),
        pytest.param(replace(GOOD, blocksizes=(5, 3)), 2, "bad-unixfs", id="wrong size of a part"),
        pytest.param(replace(GOOD, blocksizes=(0, 8)), 2, "bad-unixfs", id="empty part"),
        pytest.param(UnixFs(Kind.DIRECTORY), 0, "not-a-file", id="directory"),
        pytest.param(
            UnixFs(Kind.HAMT_SHARD, b"", None, (), 0x22, 256), 0, "not-a-file", id="sharded directory"
        ),
        pytest.param(UnixFs(Kind.SYMLINK, b"/etc/passwd"), 0, "not-a-file", id="symbolic link"),
    ],
)
def test_refuses_false_claims(message: UnixFs, children: int, code: str) -> None:
    with pytest.raises(RemoteError) as error:
        read_all(file_node(message, *[PART] * children), PART)
    assert error.value.code == code


def test_refuses_a_node_without_unixfs_and_other_codecs() -> None:
    with pytest.raises(RemoteError):
        read_all(Block.of(DAG_PB, b""))
    with pytest.raises(RemoteError) as error:
        read_all(Block.of(0x71, b"\xa0"))
    assert error.value.code == "unsupported-codec"


def test_refuses_endless_nesting() -> None:
    chain = [PART]
    for _ in range(MAX_DEPTH + 1):
        chain.append(file_node(UnixFs(Kind.FILE, filesize=4, blocksizes=(4,)), chain[-1]))
    assert read_all(chain[-2], *chain) == b"part"
    with pytest.raises(RemoteError):
        read_all(chain[-1], *chain)


def test_reading_past_the_end_is_our_mistake() -> None:
    reader = FileReader(PART.cid)
    reader.feed(b"part")
    assert reader.wanted is None
    with pytest.raises(LocalError):
        reader.feed(b"part")


def test_knows_what_comes_next() -> None:
    parts = [Block.of(RAW, bytes([65 + i])) for i in range(5)]
    root = file_node(UnixFs(Kind.FILE, filesize=5, blocksizes=(1,) * 5), *parts)
    reader = FileReader(root.cid)
    assert reader.ahead(3) == []
    reader.feed(root.data)
    assert reader.wanted == parts[0].cid
    assert reader.ahead(3) == [part.cid for part in parts[1:4]]
    assert reader.ahead(9) == [part.cid for part in parts[1:]]


@given(st.binary(max_size=100))
def test_any_block_is_read_or_refused(data: bytes) -> None:
    reader = FileReader(Cid.of(DAG_PB, data))
    try:
        reader.feed(data)
    except RemoteError:
        return
    assert reader.size is not None
