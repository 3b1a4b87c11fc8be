"""Where the control socket is and who may use it.

`sun_path` holds 107 bytes on Linux, and homes may lie deeper. The kernel measures the text of the
path, not the place it names, so a long path is reached through a short one to the same folder.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_SOCKET_PATH = 107 if os.uname().sysname == "Linux" else 103
"""Bytes, without the closing NUL."""

_OWN_DESCRIPTORS = Path("/proc/self/fd")


@contextmanager
def short_address(path: Path, descriptors: Path = _OWN_DESCRIPTORS) -> Iterator[str]:
    """An address for bind or connect that names `path`, valid while the context is open."""
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        yield str(path)
    elif descriptors.is_dir():
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield str(descriptors / str(folder) / path.name)
        finally:
            os.close(folder)
    else:
        private = Path(tempfile.mkdtemp(prefix="mc-"))
        try:
            (private / "h").symlink_to(path.parent.absolute(), target_is_directory=True)
            yield str(private / "h" / path.name)
        finally:
            shutil.rmtree(private)


def peer_uid(connection: socket.socket) -> int | None:
    """The user at the other end of a Unix socket, None where the system does not tell."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    raw = connection.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i"))
    _pid, uid, _gid = struct.unpack("3i", raw)
    return int(uid)


def may_attach(uid: int | None, own_uid: int) -> bool:
    """The owner, and root, who could read the home anyway. An unknown user may not."""
    return uid is not None and uid in (own_uid, 0)
