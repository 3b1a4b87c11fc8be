"""A file system that forgets whatever was not synced, as a disk does when the power is cut.

`python -m tests.relay.powerfs BACKING MOUNT [torn]` loses its power at the first line that it reads, answers
"cut", and takes nothing any more. What is written stays in memory; fsync brings a file to BACKING. With
`torn`, the first half of each file's last unsynced write reaches the disk all the same.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from typing import Any

from mfusepy import FUSE, FuseOSError, Operations

_STATUS = ("st_mode", "st_nlink", "st_size", "st_uid", "st_gid", "st_atime", "st_mtime", "st_ctime")
_SPACE = ("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_files", "f_ffree", "f_frsize", "f_namemax")


class PowerFs(Operations):  # type: ignore[misc]
    use_ns = True

    def __init__(self, backing: str, *, torn: bool) -> None:
        self._backing = backing
        self._torn = torn
        self._lock = threading.RLock()
        self._seen: dict[str, bytearray] = {}
        """What processes see of a file; the disk has what was synced last."""
        self._last: dict[str, tuple[int, bytes]] = {}
        self._off = False

    def cut_when_told(self) -> None:
        sys.stdin.readline()
        with self._lock:
            self._off = True
            for path, (offset, data) in self._last.items():
                if self._torn and os.path.exists(self._real(path)):
                    with open(self._real(path), "r+b") as file:
                        file.seek(offset)
                        file.write(data[: len(data) // 2])
            self._seen.clear()
            self._last.clear()
        print("cut", flush=True)

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        with self._lock:
            try:
                status = os.lstat(self._real(path))
            except FileNotFoundError:
                raise FuseOSError(errno.ENOENT) from None
            found = {name: getattr(status, name) for name in _STATUS}
            if path in self._seen:
                found["st_size"] = len(self._seen[path])
            return found

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *os.listdir(self._real(path))]

    def create(self, path: str, mode: int, fi: object = None) -> int:
        with self._lock:
            os.close(os.open(self._real(path), os.O_WRONLY | os.O_CREAT, mode))
            self._seen[path] = bytearray()
        return 0

    def open(self, path: str, flags: int) -> int:
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        with self._lock:
            return bytes(self._content(path)[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        with self._lock:
            self._need_power()
            content = self._content(path)
            content.extend(bytes(max(0, offset - len(content))))
            content[offset : offset + len(data)] = data
            self._last[path] = (offset, data)
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        with self._lock:
            self._need_power()
            content = self._content(path)
            del content[length:]
            content.extend(bytes(length - len(content)))
            self._last.pop(path, None)

    def fsync(self, path: str, datasync: int, fh: int) -> None:
        with self._lock:
            self._need_power()
            if path in self._seen:
                with open(self._real(path), "wb") as file:
                    file.write(self._seen[path])
                self._last.pop(path, None)

    def unlink(self, path: str) -> None:
        with self._lock:
            self._need_power()
            self._seen.pop(path, None)
            self._last.pop(path, None)
            os.unlink(self._real(path))

    def statfs(self, path: str) -> dict[str, Any]:
        found = os.statvfs(self._backing)
        return {name: getattr(found, name) for name in _SPACE}

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(self._real(path), mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        return None

    def utimens(self, path: str, times: object = None) -> None:
        return None

    def _need_power(self) -> None:
        if self._off:
            raise FuseOSError(errno.EIO)

    def _content(self, path: str) -> bytearray:
        if path not in self._seen:
            with open(self._real(path), "rb") as file:
                self._seen[path] = bytearray(file.read())
        return self._seen[path]

    def _real(self, path: str) -> str:
        return os.path.join(self._backing, path.lstrip("/"))


if __name__ == "__main__":
    disk = PowerFs(sys.argv[1], torn="torn" in sys.argv[3:])
    threading.Thread(target=disk.cut_when_told, daemon=True).start()
    FUSE(disk, sys.argv[2], foreground=True)
