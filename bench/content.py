"""The content store beside plain hashing and plain writing of the same bytes, and what it costs in memory.

Everything is measured in this process, on the disk of the temporary folder, three times in turn; the best of
each counts, for another program's load falls on one of them only.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.figures import Figure, ratio
from bench.nodes import OPEN, a_pair, pid_of
from meshconsole.content.service import Content
from meshconsole.content.store.blocks import BlocksState
from meshconsole.content.store.index import Entry, Index
from meshconsole.content.store.marking import Marking
from meshconsole.content.store.roots import Pin, Root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshconsole.content.formats.block import Block
    from meshconsole.content.store.blocks import BlockStore

CHUNK_BYTES = 1 << 20
CHUNKS = 1024
ROUNDS = 3
KEY = bytes(32)
MIB = 1 << 20
SMALL_FILES, SMALL_SIZE = 2000, 300
SETTLED_S = 8.0
FILES, LEAVES = 100, 1004
"""Of the index in which garbage is looked for; every second file is pinned."""


def measure() -> list[Figure]:
    return [*_speed(), *_small(), *_marking(), *_memory()]


class Unlimited:
    def reserve(self, count: int) -> None:
        del count

    def release(self, count: int) -> None:
        del count


class NoBlocks:
    """A `BlockStore` that keeps nothing: what remains is hashing and everything around it."""

    def open(self) -> int:
        return 0

    def put(self, block: Block) -> bool:
        del block
        return True

    def sync(self) -> None:
        return None

    def get(self, multihash: bytes) -> bytes | None:
        del multihash
        return None

    def size(self, multihash: bytes) -> int | None:
        del multihash
        return None

    def first_byte(self, multihash: bytes) -> bytes:
        del multihash
        return b""

    def remove(self, multihash: bytes) -> bool:
        del multihash
        return False

    def listing(self) -> Iterator[tuple[bytes, int]]:
        return iter(())

    def quarantined_bytes(self) -> int:
        return 0

    def look(self) -> BlocksState:
        return BlocksState()

    def close(self) -> None:
        return None


def _speed() -> list[Figure]:
    rates: dict[str, list[float]] = {"hash": [], "null": [], "plain": [], "store": []}
    with tempfile.TemporaryDirectory(prefix="meshconsole-bench-") as folder:
        for _ in range(ROUNDS):
            rates["hash"].append(_hash_rate())
            rates["null"].append(asyncio.run(_add_rate(Path(folder, "null"), NoBlocks())))
            rates["plain"].append(_plain_rate(Path(folder, "plain")))
            rates["store"].append(asyncio.run(_add_rate(Path(folder, "store"), None)))
    best = {name: max(found) for name, found in rates.items()}
    return [
        Figure("SHA-256 of 1 MiB chunks", best["hash"], "MiB/s", f"{CHUNKS} MiB"),
        Figure("add, nothing written", best["null"], "MiB/s"),
        ratio("add, nothing written, to SHA-256", best["null"], best["hash"], "at least 0.8"),
        Figure("hash, write and sync each chunk", best["plain"], "MiB/s"),
        Figure("add", best["store"], "MiB/s"),
        ratio("add, to hash, write and sync", best["store"], best["plain"], "at least 0.6"),
    ]


def _pieces() -> Iterator[bytes]:
    base = os.urandom(CHUNK_BYTES - 8)
    for number in range(CHUNKS):
        yield number.to_bytes(8, "big") + base


def _hash_rate() -> float:
    began = time.perf_counter()
    for piece in _pieces():
        hashlib.sha256(piece).digest()
    return CHUNKS / (time.perf_counter() - began)


def _plain_rate(folder: Path) -> float:
    folder.mkdir()
    began = time.perf_counter()
    for piece in _pieces():
        with (folder / hashlib.sha256(piece).hexdigest()).open("wb", buffering=0) as file:
            file.write(piece)
            os.fsync(file.fileno())
    rate = CHUNKS / (time.perf_counter() - began)
    shutil.rmtree(folder)
    return rate


async def _add_rate(folder: Path, blocks: BlockStore | None) -> float:
    os.mkdir(folder)
    content = Content(folder, KEY, quota=Unlimited(), emit=lambda _: None, clock=time.time, blocks=blocks)
    await content.start()
    began = time.perf_counter()
    await content.add(_pieces(), "file", pinned=False)
    rate = CHUNKS / (time.perf_counter() - began)
    await content.stop()
    await asyncio.to_thread(shutil.rmtree, folder)
    return rate


def _small() -> list[Figure]:
    plain, ours = [], []
    with tempfile.TemporaryDirectory(prefix="meshconsole-bench-") as folder:
        for _ in range(ROUNDS):
            plain.append(_plain_small_rate(Path(folder, "plain")))
            rate, entries = asyncio.run(_small_rate(Path(folder, "store")))
            ours.append(rate)
    return [
        Figure("write and sync small files, bare", max(plain), "files/s", f"{SMALL_SIZE} bytes each"),
        Figure("add a folder of small files", max(ours), "files/s", f"{SMALL_FILES} files"),
        ratio("add a folder of small files, to bare", max(ours), max(plain), "each of the bare is synced"),
        Figure("entries of the file system for them", entries, "files"),
    ]


def _plain_small_rate(folder: Path) -> float:
    folder.mkdir()
    data = os.urandom(SMALL_SIZE)
    began = time.perf_counter()
    for number in range(SMALL_FILES):
        with (folder / str(number)).open("wb", buffering=0) as file:
            file.write(data)
            os.fsync(file.fileno())
    rate = SMALL_FILES / (time.perf_counter() - began)
    shutil.rmtree(folder)
    return rate


async def _small_rate(folder: Path) -> tuple[float, int]:
    """Files a second, and how many files hold their blocks and everything else."""
    os.mkdir(folder)
    content = Content(folder, KEY, quota=Unlimited(), emit=lambda _: None, clock=time.time)
    await content.start()
    files = ((str(number), [os.urandom(SMALL_SIZE)]) for number in range(SMALL_FILES))
    began = time.perf_counter()
    await content.add_folder(files, "folder")
    rate = SMALL_FILES / (time.perf_counter() - began)
    await content.stop()
    entries = await asyncio.to_thread(lambda: sum(path.is_file() for path in folder.rglob("*")))
    await asyncio.to_thread(shutil.rmtree, folder)
    return rate, entries


def _marking() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="meshconsole-bench-") as folder:
        path = Path(folder, "index.db")
        index = Index(path, KEY)
        for number in range(FILES):
            leaves, top = [os.urandom(34) for _ in range(LEAVES)], os.urandom(34)
            index.record([*(Entry(leaf, MIB) for leaf in leaves), Entry(top, 1, tuple(leaves))], number)
            if number % 2:
                index.put_root(Root(str(number), "file", False, None, 1.0, (Pin(),)), top)
        index.close()
        marking = Marking(path, KEY)
        took = []
        for _ in range(5):
            began = time.perf_counter()
            marking.garbage(16 * MIB, [])
            took.append(time.perf_counter() - began)
    count = FILES * (LEAVES + 1)
    return [Figure("finding garbage", min(took) * 1000, "ms", f"{count} blocks; under 100 ms")]


def _memory() -> list[Figure]:
    with a_pair(*OPEN, "limits.max_storage_mb=3000") as (alpha, bravo):
        file = alpha.home.parent / "file.bin"
        with file.open("wb") as out:
            for piece in _pieces():
                out.write(piece)
        before = _resident_mb(pid_of(alpha))
        cid = alpha.json("blobs", "add", str(file))[0]["cid"]
        added = _peak_mb(pid_of(alpha))
        bravo.wait("the file", lambda _: cid in bravo.cids())
        began = time.perf_counter()
        bravo.command("blobs", "get", cid, "-o", str(file.with_suffix(".copy")))
        fetched_s = time.perf_counter() - began
        served = _peak_mb(pid_of(alpha))
    return [
        Figure("memory, more while adding 1 GiB", added - before, "MB", f"of {before:.0f}; at most 30"),
        Figure("memory, more after serving it too", served - before, "MB", "at most 30"),
        Figure("get of 1 GiB over a link", CHUNKS * MIB / 1e6 / fetched_s, "MB/s", "at least 60"),
    ]


def _resident_mb(pid: int) -> float:
    """Once it has settled, for a node gives back what its start took; from here on a new peak is counted
    (proc(5), clear_refs)."""
    lowest, since = _field_mb(pid, "VmRSS:"), time.monotonic()
    while time.monotonic() - since < SETTLED_S:
        time.sleep(0.2)
        if (now := _field_mb(pid, "VmRSS:")) < lowest - 0.2:
            lowest, since = now, time.monotonic()
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _field_mb(pid, "VmRSS:")


def _peak_mb(pid: int) -> float:
    return _field_mb(pid, "VmHWM:")


def _field_mb(pid: int, name: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(name))
