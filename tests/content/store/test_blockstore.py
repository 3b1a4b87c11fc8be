from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from meshconsole.content.formats.block import MAX_BLOCK_BYTES, Block
from meshconsole.content.formats.cid import RAW
from meshconsole.content.store.blockstore import MAX_QUARANTINED, FlatBlockStore, footprint
from meshconsole.core.errors import CorruptData, Fatal, Unavailable

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> FlatBlockStore:
    store = FlatBlockStore(tmp_path / "blobs")
    store.open()
    return store


def file_of(path: Path, block: Block) -> Path:
    (found,) = [file for file in (path / "blobs" / "blocks").glob("*/*") if file.read_bytes() == block.data]
    return found


def one(text: str) -> Block:
    return Block.of(RAW, text.encode())


def test_what_is_no_block_is_not_listed(store: FlatBlockStore, tmp_path: Path) -> None:
    blocks = [one("x" * size) for size in range(20)]
    for block in blocks:
        store.put(block)
    (tmp_path / "blobs" / "blocks" / "a").mkdir(exist_ok=True)
    (tmp_path / "blobs" / "blocks" / "a" / "README").write_text("not a block")
    assert dict(store.listing()) == {block.cid.multihash: len(block.data) for block in blocks}


def test_files_are_for_the_owner_alone(store: FlatBlockStore, tmp_path: Path) -> None:
    block = one("private")
    store.put(block)
    file = file_of(tmp_path, block)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("damage", ["truncate", "empty", "flip", "append"])
def test_an_altered_block_is_never_served(store: FlatBlockStore, tmp_path: Path, damage: str) -> None:
    block = one("important bytes")
    store.put(block)
    file = file_of(tmp_path, block)
    altered = {
        "truncate": block.data[:-1],
        "empty": b"",
        "flip": b"I" + block.data[1:],
        "append": block.data + b"!",
    }[damage]
    file.write_bytes(altered)
    with pytest.raises(CorruptData) as error:
        store.get(block.cid.multihash)
    assert file.name in error.value.sentence
    assert error.value.hint
    assert store.get(block.cid.multihash) is None
    assert [kept.read_bytes() for kept in (tmp_path / "blobs" / "quarantine").iterdir()] == [altered]
    assert store.put(block)
    assert store.get(block.cid.multihash) == block.data


def test_an_altered_block_is_cured_by_writing_it_again(store: FlatBlockStore, tmp_path: Path) -> None:
    block = one("same length")
    store.put(block)
    file_of(tmp_path, block).write_bytes(b"Same length")
    assert not store.put(block)  # its place is counted already
    assert store.get(block.cid.multihash) == block.data


def test_a_file_grown_without_bound_is_not_read_whole(store: FlatBlockStore, tmp_path: Path) -> None:
    block = one("small")
    store.put(block)
    os.truncate(file_of(tmp_path, block), 1 << 40)  # sparse
    with pytest.raises(CorruptData):
        store.get(block.cid.multihash)


def test_the_quarantine_is_bounded(store: FlatBlockStore, tmp_path: Path) -> None:
    for i in range(MAX_QUARANTINED + 3):
        block = one(f"block {i}")
        store.put(block)
        file_of(tmp_path, block).write_bytes(b"altered %d" % i)
        with pytest.raises(CorruptData):
            store.get(block.cid.multihash)
    assert len(list((tmp_path / "blobs" / "quarantine").iterdir())) == MAX_QUARANTINED
    assert store.quarantined_bytes() == MAX_QUARANTINED * 4096


def test_a_crash_in_mid_write_leaves_nothing(store: FlatBlockStore, tmp_path: Path) -> None:
    (tmp_path / "blobs" / "tmp" / "7").write_bytes(b"half a blo")
    again = FlatBlockStore(tmp_path / "blobs")
    assert again.open() == 1
    assert list((tmp_path / "blobs" / "tmp").iterdir()) == []
    assert list(again.listing()) == []
    assert FlatBlockStore(tmp_path / "blobs").open() == 0


class Disk:
    """Stands between the store and the system calls: counts, orders, and fails them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.fail: dict[str, int] = {}
        self.write_limit: int | None = None
        for name in ("fsync", "rename", "write"):
            monkeypatch.setattr(os, name, self._wrapped(name, getattr(os, name)))

    def _wrapped(self, name: str, real):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        def call(*args):  # type: ignore[no-untyped-def]  # noqa: ANN002, ANN202
            kind = name
            if name == "fsync":
                kind = "sync folder" if os.path.isdir(f"/proc/self/fd/{args[0]}") else "sync file"
            self.calls.append(kind)
            if kind in self.fail:
                raise OSError(self.fail[kind], os.strerror(self.fail[kind]))
            if name == "write" and self.write_limit is not None:
                return real(args[0], args[1][: self.write_limit])
            return real(*args)

        return call


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch, store: FlatBlockStore) -> Disk:
    return Disk(monkeypatch)


def test_content_is_safe_before_its_name_and_the_name_before_sync_returns(
    store: FlatBlockStore, disk: Disk
) -> None:
    store.put(one("first"))
    assert disk.calls == ["sync folder", "write", "sync file", "rename"]
    disk.calls.clear()
    store.sync()
    assert disk.calls == ["sync folder"]
    disk.calls.clear()
    store.sync()
    assert disk.calls == []


def test_short_writes_are_continued(store: FlatBlockStore, disk: Disk) -> None:
    disk.write_limit = 3
    block = one("written in pieces")
    store.put(block)
    assert store.get(block.cid.multihash) == block.data


@pytest.mark.parametrize("step", ["write", "sync file", "rename"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_gives_a_sentence_and_leaves_nothing(
    store: FlatBlockStore, disk: Disk, tmp_path: Path, step: str, code: int
) -> None:
    block = one("does not fit")
    disk.fail = {step: code}
    with pytest.raises(Unavailable) as error:
        store.put(block)
    assert "disk is full" in error.value.sentence
    assert error.value.hint
    assert list((tmp_path / "blobs" / "tmp").iterdir()) == []
    assert store.get(block.cid.multihash) is None
    disk.fail = {}
    assert store.put(block)


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.EROFS, "read-only"), (errno.EACCES, "permission"), (errno.EIO, os.strerror(errno.EIO))],
)
def test_other_faults_of_the_disk_are_named(store: FlatBlockStore, disk: Disk, code: int, words: str) -> None:
    disk.fail = {"write": code}
    with pytest.raises(Fatal) as error:
        store.put(one("x"))
    assert words in error.value.sentence


def test_a_failed_sync_is_tried_again(store: FlatBlockStore, disk: Disk) -> None:
    store.put(one("x"))
    disk.fail = {"sync folder": errno.EIO}
    with pytest.raises(Fatal):
        store.sync()
    disk.fail = {}
    disk.calls.clear()
    store.sync()
    assert disk.calls == ["sync folder"]


def test_sectors_that_cannot_be_read_count_as_altered(
    store: FlatBlockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = one("on a bad sector")
    store.put(block)

    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", fail)
        with pytest.raises(CorruptData):
            store.get(block.cid.multihash)
    assert store.get(block.cid.multihash) is None


@pytest.mark.parametrize(("size", "pages"), [(0, 0), (1, 1), (4096, 1), (4097, 2), (MAX_BLOCK_BYTES, 512)])
def test_footprint(size: int, pages: int) -> None:
    assert footprint(size) == pages * 4096
