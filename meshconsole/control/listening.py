"""The socket's file: opened with the right mode, taken over from a node that died, taken away at the end."""

from __future__ import annotations

import socket
import stat
from typing import TYPE_CHECKING

from meshconsole.control.address import short_address
from meshconsole.core.errors import Fatal

if TYPE_CHECKING:
    from pathlib import Path

OWNER_ONLY = 0o600
EVERYBODY = 0o666
"""Whoever connects is asked of the kernel (rights.py); the file lets nobody in by itself."""


class Listening:
    """One socket that listens at `path`. Raises Fatal where it cannot be had."""

    def __init__(self, path: Path, *, mode: int, backlog: int) -> None:
        self.path = path
        self.socket = _listen(path, mode, backlog)
        found = path.stat()
        self._identity = (found.st_dev, found.st_ino)

    def unlink(self) -> None:
        """Unless another node has put its own there meanwhile."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return
        if (found.st_dev, found.st_ino) == self._identity:
            self.path.unlink()


def _listen(path: Path, mode: int, backlog: int) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear_stale(path)
        with short_address(path) as address:
            listener.bind(address)
        # Nobody can connect between bind and listen, so the mode is right before the first client.
        path.chmod(mode)
        listener.listen(backlog)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise Fatal(
            f"The control socket {path} cannot be opened: {error.strerror or error}.",
            hint="Check the rights of its folder and the space on its disk.",
        ) from error
    except Fatal:
        listener.close()
        raise
    return listener


def _clear_stale(path: Path) -> None:
    """Takes away the socket of a node that died. Raises Fatal if one answers, or if it is no socket."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise Fatal(f"{path} is in the way: it is not a socket.", hint="Move it away, then start again.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, short_address(path) as address:
        try:
            probe.connect(address)
        except ConnectionRefusedError:
            path.unlink()
            return
    raise Fatal("A node already runs in this home.", hint="Attach to it: meshconsole attach")
