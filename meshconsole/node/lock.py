"""One node per home: an advisory lock that the kernel drops with the process, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

from meshconsole.core.errors import Fatal
from meshconsole.crypto.private_file import as_our_error

if TYPE_CHECKING:
    from types import TracebackType

    from meshconsole.core.home import Home


class HomeLock:
    """Held for as long as the node runs. The file holds the node's process id for people to read."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Raises Fatal when another process holds the lock or the home cannot be written, Unavailable when
        the disk is full."""
        try:
            descriptor = os.open(self._home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise as_our_error(error, self._home.lock.name) from error
            raise Fatal(
                f"Cannot write in {self._home.path}: {error.strerror}.",
                hint="Give this user the folder, or choose another with --home.",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise Fatal(
                f"A node already runs on {self._home.path} (process {holder}).",
                hint="Use 'meshconsole attach' to look at it, or 'meshconsole stop' first.",
                exit_code=3,
            ) from None
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        except OSError as error:
            os.close(descriptor)
            raise as_our_error(error, self._home.lock.name) from error
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> HomeLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
