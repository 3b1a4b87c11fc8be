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

from meshconsole.control.rights import Peer

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_SOCKET_PATH = 107 if os.uname().sysname == "Linux" else 103
"""Bytes, without the closing NUL."""

SO_PEERGROUPS = 59
MAX_GROUPS = 256
"""As many as Python's getsockopt can take in; whoever is in more counts with the first group only."""

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


def peer_of(connection: socket.socket) -> Peer | None:
    """Who is at the other end of a Unix socket, None where the system does not tell."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    raw = connection.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i"))
    _pid, uid, gid = struct.unpack("3i", raw)
    return Peer(uid, frozenset({gid, *_supplementary(connection)}))


def _supplementary(connection: socket.socket) -> tuple[int, ...]:
    """SO_PEERGROUPS (socket(7)), which the kernel knows and Python has no name for."""
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, MAX_GROUPS * 4)
    except OSError:
        return ()
    return struct.unpack(f"{len(raw) // 4}I", raw)
