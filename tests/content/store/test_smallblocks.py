"""Small blocks in their database: together, safe after a sync, and saved from damage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from meshconsole.content.formats.block import Block
from meshconsole.content.formats.cid import RAW
from meshconsole.content.store import smallblocks
from meshconsole.content.store.blockstore import FlatBlockStore
from meshconsole.content.store.homeblocks import HomeBlocks
from meshconsole.content.store.smallblocks import SMALL_BYTES, SmallBlocks
from meshconsole.core.errors import Unavailable
from meshconsole.crypto import database
from tests.content.conftest import KEY

if TYPE_CHECKING:
    from pathlib import Path


def one(text: str) -> Block:
    return Block.of(RAW, text.encode())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "small.db"


def opened(path: Path) -> SmallBlocks:
    store = SmallBlocks(path, KEY)
    assert store.open() == 0
    return store


def test_there_is_no_database_before_there_is_a_block(path: Path) -> None:
    store = opened(path)
    block = one("small")
    assert store.get(block.cid.multihash) is None
    assert store.size(block.cid.multihash) is None
    assert not store.remove(block.cid.multihash)
    assert list(store.listing()) == []
    store.sync()
    assert not path.exists()
    store.put(block)
    store.sync()
    assert path.stat().st_mode & 0o777 == 0o600
    store.close()


def test_what_was_synced_survives_and_the_rest_is_not_half_there(path: Path) -> None:
    """A second opening sees what a power cut would leave."""
    store = opened(path)
    synced, removed, waiting = one("synced"), one("removed"), one("waiting")
    for block in (synced, removed):
        store.put(block)
    store.sync()
    store.put(waiting)
    store.remove(removed.cid.multihash)
    assert {each for each, _ in opened(path).listing()} == {synced.cid.multihash, removed.cid.multihash}
    store.sync()
    assert {each for each, _ in opened(path).listing()} == {synced.cid.multihash, waiting.cid.multihash}
    store.close()


def test_much_is_written_before_anybody_asks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smallblocks, "WAITING_BYTES", 100)
    monkeypatch.setattr(smallblocks, "WAITING_REMOVALS", 3)
    store = opened(path)
    blocks = [one("x" * 50 + str(number)) for number in range(6)]
    for block in blocks:
        store.put(block)
    assert len(list(opened(path).listing())) == 6
    for block in blocks[:3]:
        store.remove(block.cid.multihash)
    assert len(list(opened(path).listing())) == 3
    store.close()


def test_a_block_that_was_removed_and_put_again_stays(path: Path) -> None:
    store = opened(path)
    block = one("again")
    store.put(block)
    store.sync()
    assert store.remove(block.cid.multihash)
    assert not store.remove(block.cid.multihash)
    assert store.put(block)
    store.sync()
    assert opened(path).get(block.cid.multihash) == block.data
    store.close()


class FullDisk:
    """A connection whose commits fail."""

    def __init__(self, db: Any) -> None:  # noqa: ANN401
        self._db = db

    def execute(self, statement: str, *values: object) -> Any:  # noqa: ANN401
        if statement == "COMMIT":
            self._db.execute("ROLLBACK")
            error = database.SqlcipherError("database or disk is full")
            error.sqlite_errorcode = 13  # type: ignore[attr-defined]
            raise error
        return self._db.execute(statement, *values)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._db, name)


def test_a_full_disk_is_told_and_nothing_waiting_is_lost(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(path)
    store.put(one("before"))
    store.sync()
    real = store._conn
    store._conn = FullDisk(real)
    block = one("waits")
    assert store.put(block)
    with pytest.raises(Unavailable, match="no space left"):
        store.sync()
    assert store.get(block.cid.multihash) == block.data
    with pytest.raises(Unavailable, match="no space left"):
        store.sync()
    monkeypatch.setattr(smallblocks, "WAITING_BYTES", 1)
    with pytest.raises(Unavailable, match="no space left"):
        store.put(one("refused"))
    assert store.size(one("refused").cid.multihash) is None
    store._conn = real
    store.sync()
    assert opened(path).get(block.cid.multihash) == block.data
    store.close()


def test_damage_costs_what_it_hits_and_no_more(path: Path) -> None:
    store = opened(path)
    blocks = [one(f"{number}" * 900) for number in range(100, 200)]
    for block in blocks:
        store.put(block)
    store.close()
    store.sync()
    store.close()
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle + 100] ^= 1
    path.write_bytes(data)
    store = opened(path)
    found = {multihash for multihash, _ in store.listing()}
    sound = [block for block in blocks if store.get(block.cid.multihash) == block.data]
    assert len(blocks) - 8 < len(sound) < len(blocks)
    assert {block.cid.multihash for block in sound} <= found
    for block in blocks:
        store.put(block)
    store.sync()
    assert all(store.get(block.cid.multihash) == block.data for block in blocks)
    damaged = path.with_name("small.db.damaged")
    assert store.quarantined_bytes() == damaged.stat().st_size >= len(data)
    store.close()
    store = opened(path)
    assert not damaged.exists()
    assert store.quarantined_bytes() == 0
    assert store.get(blocks[0].cid.multihash) == blocks[0].data
    store.close()


def test_the_database_that_was_set_aside_counts_in_the_home(tmp_path: Path) -> None:
    store = HomeBlocks(tmp_path, KEY)
    store.open()
    (tmp_path / "small.db.damaged").write_bytes(bytes(5000))
    assert store.quarantined_bytes() == 8192
    store.close()


@pytest.mark.parametrize("damage", [b"", b"not a database at all", bytes(8192)])
def test_a_database_that_is_none_is_made_anew(path: Path, damage: bytes) -> None:
    path.write_bytes(damage)
    store = opened(path)
    block = one("small")
    assert list(store.listing()) == []
    assert store.put(block)
    store.sync()
    assert opened(path).get(block.cid.multihash) == block.data
    store.close()


def test_the_space_of_removed_blocks_is_given_back(path: Path) -> None:
    store = opened(path)
    blocks = [one(f"{number}" * 1000) for number in range(1000, 2000)]
    for block in blocks:
        store.put(block)
    store.sync()
    store._conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    before = path.stat().st_size
    for block in blocks[10:]:
        store.remove(block.cid.multihash)
    store.close()
    store = opened(path)
    store.sync()
    store.close()
    assert path.stat().st_size < before / 2


def test_a_home_keeps_large_blocks_and_those_of_before_as_files(tmp_path: Path) -> None:
    path = tmp_path / "blobs"
    old = one("from before")
    flat = FlatBlockStore(path)
    flat.open()
    flat.put(old)
    store = HomeBlocks(path, KEY)
    store.open()
    small, large = one("s" * SMALL_BYTES), one("l" * (SMALL_BYTES + 1))
    assert not store.put(old)
    assert store.put(small)
    assert store.put(large)
    store.sync()
    assert {multihash for multihash, _ in flat.listing()} == {old.cid.multihash, large.cid.multihash}
    assert dict(store.listing()) == {block.cid.multihash: len(block.data) for block in (old, small, large)}
    for block in (old, small, large):
        assert store.first_byte(block.cid.multihash) == block.data[:1]
        assert store.remove(block.cid.multihash)
    assert list(store.listing()) == []
    store.close()
