"""Blocks as flat files, each named by its multihash: the `BlockStore` of every node.

How it keeps the laws of `blocks`:
1. A name appears only with its whole content on the disk: written to `tmp/`, synced, renamed. The
   folder that got the name is synced by `sync`, before anybody is told that the block is safe.
2. Nothing is returned that does not hash to its name. A file that does not is moved to `quarantine/`
   and the block counts as missing from then on.
3. What a crash leaves in `tmp/` is removed at the next `open`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from itertools import count
from typing import TYPE_CHECKING

from meshconsole.content.formats.block import MAX_BLOCK_BYTES, Block
from meshconsole.content.formats.cid import is_supported_multihash, multihash_matches
from meshconsole.content.formats.multibase import decode_base32, encode_base32
from meshconsole.content.store.blocks import BlocksState
from meshconsole.core.errors import CorruptData, Fatal, MeshconsoleError, RemoteError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE_BYTES = 4096
MAX_QUARANTINED = 4
"""Altered blocks kept for whoever wants to look at them."""

_FILE_MODE = 0o600
_FOLDER_MODE = 0o700


def footprint(size: int) -> int:
    """What a block of `size` bytes takes on a disk that gives out whole pages."""
    return -(-size // PAGE_BYTES) * PAGE_BYTES


class FlatBlockStore:
    """Any number of threads may call it at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._blocks = path / "blocks"
        self._tmp = path / "tmp"
        self._quarantine = path / "quarantine"
        self._serial = count()
        self._lock = threading.Lock()
        self._unsynced: set[str] = set()

    def open(self) -> int:
        """Makes the folders and clears what a crash left. Returns how many leftovers there were."""
        try:
            for folder in (self._path, self._blocks, self._tmp, self._quarantine):
                folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            leftovers = list(self._tmp.iterdir())
            for leftover in leftovers:
                leftover.unlink()
            for altered in self._quarantine.iterdir():
                altered.unlink()
            # A name that was on its way into a folder when the power failed may be gone; one that is
            # there is kept only by a sync.
            self._unsynced.update(entry.name for entry in os.scandir(self._blocks) if entry.is_dir())
        except OSError as error:
            raise _translate(error, "The block store cannot be opened") from error
        return len(leftovers)

    def put(self, block: Block) -> bool:
        """Writes the block; False if there was a file of that name. Safe against a power cut after `sync`.

        Raises Unavailable if the disk is full, Fatal for other faults of the disk; no part is left.
        """
        shard, path = self._place(block.cid.multihash)
        # The content is compared, not just the size: else an altered file would swallow its cure.
        if _size_of(path) == len(block.data) and _read(path) == block.data:
            return False
        temporary = str(self._tmp / f"{next(self._serial)}")
        try:
            self._make_shard(shard)
            _write_synced(temporary, block.data)
            with self._lock:
                # Of two threads with the same block, one must learn that it was not the first.
                is_new = _size_of(path) is None
                os.rename(temporary, path)
                self._unsynced.add(shard)
        except OSError as error:
            raise _translate(error, "A block cannot be written") from error
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
        return is_new

    def sync(self) -> None:
        """Makes every name given so far survive a power cut."""
        with self._lock:
            shards, self._unsynced = self._unsynced, set()
        try:
            for shard in sorted(shards):
                _sync_folder(str(self._blocks / shard))
        except OSError as error:
            with self._lock:
                self._unsynced |= shards
            raise _translate(error, "The block store cannot be synced") from error

    def get(self, multihash: bytes) -> bytes | None:
        """The block, None if it is not there. Raises CorruptData if its file was truncated or altered."""
        _, path = self._place(multihash)
        data = _read(path)
        if data is None:
            return None
        if len(data) <= MAX_BLOCK_BYTES and multihash_matches(multihash, data):
            return data
        self._set_aside(path)
        raise CorruptData(
            f"The stored block {os.path.basename(path)} was altered or cut short and has been set aside.",
            hint="It is fetched again from teammates who hold it. If this repeats, check the disk or card.",
        )

    def size(self, multihash: bytes) -> int | None:
        """Bytes of the block, None if it is not there. Its content is not looked at."""
        return _size_of(self._place(multihash)[1])

    def first_byte(self, multihash: bytes) -> bytes:
        """As stored, unchecked; empty if there is none."""
        try:
            with open(self._place(multihash)[1], "rb", buffering=0) as file:
                return file.read(1)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise _translate(error, "A block cannot be read") from error

    def remove(self, multihash: bytes) -> bool:
        """False if it was not there."""
        try:
            os.unlink(self._place(multihash)[1])
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _translate(error, "A block cannot be removed") from error
        return True

    def listing(self) -> Iterator[tuple[bytes, int]]:
        """(multihash, size) of every block, from the names of the files alone, in no order."""
        try:
            shards = [entry.path for entry in os.scandir(self._blocks) if entry.is_dir()]
            for shard in shards:
                for entry in os.scandir(shard):
                    multihash = _multihash_of(entry.name)
                    if multihash is not None and entry.is_file(follow_symlinks=False):
                        yield multihash, entry.stat().st_size
        except OSError as error:
            raise _translate(error, "The block store cannot be listed") from error

    def quarantined_bytes(self) -> int:
        return sum(footprint(entry.stat().st_size) for entry in os.scandir(self._quarantine))

    def look(self) -> BlocksState:
        """Faults of the disk are told by whoever meets them."""
        return BlocksState()

    def close(self) -> None:
        """Nothing is kept open."""

    def _place(self, multihash: bytes) -> tuple[str, str]:
        name = encode_base32(multihash)
        # The last character may hold spare bits; the one before it is evenly spread.
        shard = name[-2:-1] or "_"
        return shard, f"{self._blocks}/{shard}/{name}"

    def _make_shard(self, shard: str) -> None:
        folder = f"{self._blocks}/{shard}"
        if not os.path.isdir(folder):
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, _FOLDER_MODE)
            _sync_folder(str(self._blocks))

    def _set_aside(self, path: str) -> None:
        try:
            os.rename(path, self._quarantine / f"{os.path.basename(path)}.{next(self._serial)}")
            kept = sorted(os.scandir(self._quarantine), key=lambda entry: entry.stat().st_ctime_ns)
            for entry in kept[:-MAX_QUARANTINED]:
                os.unlink(entry.path)
        except FileNotFoundError:
            return  # another reader set it aside at the same time
        except OSError as error:
            raise _translate(error, "An altered block cannot be set aside") from error


def _size_of(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _translate(error, "A block cannot be looked up") from error


def _read(path: str) -> bytes | None:
    """At most one byte more than a block may have."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _translate(error, "A block cannot be read") from error
    try:
        # Asking for exactly what is there: asking for more costs ten times as much.
        size = min(os.fstat(descriptor).st_size, MAX_BLOCK_BYTES + 1)
        data = os.read(descriptor, size)
        while len(data) < size and (more := os.read(descriptor, size - len(data))):
            data += more
        return data
    except OSError as error:
        if error.errno != errno.EIO:
            raise _translate(error, "A block cannot be read") from error
        # Sectors that cannot be read are the same to us as ones that were altered.
        return b""
    finally:
        os.close(descriptor)


def _write_synced(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _multihash_of(name: str) -> bytes | None:
    try:
        multihash = decode_base32(name)
    except RemoteError:
        return None
    return multihash if is_supported_multihash(multihash) else None


def _translate(error: OSError, what: str) -> MeshconsoleError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable(f"{what}: the disk is full.", hint="Free some space on it, then try again.")
    if error.errno == errno.EROFS:
        return Fatal(f"{what}: the disk is read-only.", hint="Mount it for writing; it may be damaged.")
    if isinstance(error, PermissionError):
        return Fatal(f"{what}: permission denied.", hint="Check the owner of the home folder.")
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return Unavailable(f"{what}: too many files are open.", hint="Raise the limit on open files.")
    return Fatal(f"{what}: {error.strerror}.", hint="Check the disk or card for faults.")
