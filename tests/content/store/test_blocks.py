"""The laws of `BlockStore`, for every implementation of it. A new one needs a backend here and no more."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from meshconsole.content.formats.block import MAX_BLOCK_BYTES, Block
from meshconsole.content.formats.cid import DAG_PB, RAW, SHA2_512, Prefix
from meshconsole.content.service import Content
from meshconsole.content.store.blockstore import FlatBlockStore
from meshconsole.content.store.homeblocks import HomeBlocks
from meshconsole.content.store.kubo import KuboBlocks
from meshconsole.content.store.kubo_rpc import Address, KuboRpc
from meshconsole.core.errors import CorruptData
from meshconsole.crypto.database import open_database
from tests.content.conftest import KEY, FakeClock, FakeQuota, read_whole
from tests.content.memory_blocks import MemoryBlocks
from tests.interop.kubo_node import Kubo, needs_kubo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from meshconsole.content.store.blocks import BlockStore


@dataclass
class Backend:
    """`alter` changes the stored bytes of a block behind the store's back."""

    store: BlockStore
    alter: Callable[[Block, bytes], None]


def flat(path: Path) -> Backend:
    def alter(block: Block, data: bytes) -> None:
        for file in (path / "blobs" / "blocks").glob("*/*"):
            if file.read_bytes() == block.data:
                file.write_bytes(data)

    return Backend(FlatBlockStore(path / "blobs"), alter)


def in_home(path: Path) -> Backend:
    """A small block is altered in the database, as nothing but a fault of ours could."""
    (path / "blobs").mkdir(mode=0o700)
    made = HomeBlocks(path / "blobs", KEY)

    def alter(block: Block, data: bytes) -> None:
        made.sync()
        db = open_database(path / "blobs" / "small.db", KEY)
        assert db.execute("UPDATE blocks SET data = ? WHERE data = ?", (data, block.data)).rowcount == 1
        db.close()

    return Backend(made, alter)


def memory(_: Path) -> Backend:
    store = MemoryBlocks()
    return Backend(store, lambda block, data: store.blocks.update({block.cid.multihash: data}))


@pytest.fixture(scope="session")
def a_kubo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubo]:
    """One for all tests, for it takes a second to start."""
    kubo = Kubo(tmp_path_factory.mktemp("kubo"))
    with kubo.daemon("--offline"):
        yield kubo


def in_kubo(kubo: Kubo) -> Backend:
    store = KuboBlocks(KuboRpc(Address.parse(kubo.api)), "ours")

    def alter(block: Block, data: bytes) -> None:
        (file,) = [each for each in kubo.block_files() if each.read_bytes() == block.data]
        file.write_bytes(data)

    return Backend(store, alter)


@pytest.fixture(params=["flat", "home", "memory", pytest.param("kubo", marks=needs_kubo)])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    match request.param:
        case "kubo":
            made = in_kubo(request.getfixturevalue("a_kubo"))
        case "flat":
            made = flat(tmp_path)
        case "home":
            made = in_home(tmp_path)
        case _:
            made = memory(tmp_path)
    assert made.store.open() == 0
    yield made
    for multihash, _ in list(made.store.listing()):
        made.store.remove(multihash)
    made.store.close()


@pytest.fixture
def store(backend: Backend) -> BlockStore:
    return backend.store


def one(text: str) -> Block:
    return Block.of(RAW, text.encode())


def test_put_and_get(store: BlockStore) -> None:
    block = one("a block")
    assert store.get(block.cid.multihash) is None
    assert store.size(block.cid.multihash) is None
    assert store.first_byte(block.cid.multihash) == b""
    assert store.put(block)
    store.sync()
    assert store.get(block.cid.multihash) == b"a block"
    assert store.size(block.cid.multihash) == 7
    assert store.first_byte(block.cid.multihash) == b"a"
    assert not store.put(block)


@pytest.mark.parametrize("data", [b"", b"x", bytes(MAX_BLOCK_BYTES)])
def test_sizes(store: BlockStore, data: bytes) -> None:
    for block in (Block.of(RAW, data), Block.received(Prefix(1, RAW, SHA2_512), data)):
        assert store.put(block)
        assert store.get(block.cid.multihash) == data


def test_the_hash_alone_names_a_block(store: BlockStore) -> None:
    raw, pb = Block.of(RAW, b""), Block.of(DAG_PB, b"")
    assert store.put(raw)
    assert not store.put(pb)
    assert not store.put(Block.v0(b""))
    assert len(list(store.listing())) == 1


def test_of_many_threads_with_one_block_one_is_the_first(store: BlockStore) -> None:
    block = Block.of(RAW, bytes(MAX_BLOCK_BYTES))
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(store.put, [block] * 12))
    assert sorted(results) == [False] * 11 + [True]
    assert store.get(block.cid.multihash) == block.data


def test_remove(store: BlockStore) -> None:
    block = one("gone")
    store.put(block)
    assert store.remove(block.cid.multihash)
    assert not store.remove(block.cid.multihash)
    assert store.get(block.cid.multihash) is None


def test_listing_tells_names_and_sizes(store: BlockStore) -> None:
    blocks = [one("x" * size) for size in range(20)]
    for block in blocks:
        store.put(block)
    assert dict(store.listing()) == {block.cid.multihash: len(block.data) for block in blocks}


@pytest.mark.parametrize("altered", [b"important byte", b"", b"Important bytes", b"important bytes!"])
def test_an_altered_block_is_never_served_and_can_be_cured(backend: Backend, altered: bytes) -> None:
    block, store = one("important bytes"), backend.store
    store.put(block)
    backend.alter(block, altered)
    with pytest.raises(CorruptData) as error:
        store.get(block.cid.multihash)
    assert error.value.hint
    assert store.get(block.cid.multihash) is None
    assert store.put(block)
    assert store.get(block.cid.multihash) == block.data


async def test_the_room_works_on_any_of_them(backend: Backend, tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    content = Content(
        tmp_path / "index",
        KEY,
        quota=FakeQuota(),
        emit=lambda _: None,
        clock=FakeClock(),
        blocks=backend.store,
    )
    await content.start()
    try:
        added = await content.add([b"a" * 3_000_000], "file", pinned=False)
        assert await read_whole(content, added.cid) == b"a" * 3_000_000
        assert await content.make_room(1 << 30)
        assert list(backend.store.listing()) == []
    finally:
        await content.stop()
