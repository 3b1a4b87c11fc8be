"""Destroying a home: first what opens it, then what it holds. Survives being cut off anywhere.

The order to wipe is a file of its own, durable before anything else happens and the last to go: as
long as it is there, the wipe is owed, every start goes on with it before it does anything else, and
whatever cannot be destroyed is named. A failure at one file does not keep the others.

    order → every slot of the keystore → device secret → key file in the home → all other files → order
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from meshconsole.core.errors import MeshconsoleError, WipeIncomplete
from meshconsole.crypto.keystore import Keystore, device_secret_path
from meshconsole.crypto.private_file import overwrite, write_private

if TYPE_CHECKING:
    from pathlib import Path

    from meshconsole.core.home import Home

OVERWRITTEN_BYTES = 8 << 20
"""Plain files of the home up to this size are written over before they are deleted."""
_CIPHERTEXT = (".db", ".db-wal", ".db-shm", ".journal")


def wipe_is_owed(home: Home) -> bool:
    return home.wipe_order.exists()


def destroy_keys(home: Home) -> None:
    """Orders the wipe and does its first part: milliseconds, and the home never opens again.

    Nothing is raised: what could not be done now is done, or named, by `finish_wipe`.
    """
    with suppress(MeshconsoleError):  # a full disk must not save the keys
        write_private(home.wipe_order, b"This home is to be destroyed. Every start of meshconsole goes on.\n")
    if home.keystore.exists() or device_secret_path(home.keystore).exists():
        with suppress(MeshconsoleError):
            Keystore.wipe(home.keystore)
    if home.unlock_key.exists():
        with suppress(MeshconsoleError):
            overwrite(home.unlock_key, os.urandom(len(home.unlock_key.read_bytes())))


def finish_wipe(home: Home) -> None:
    """Everything: the keys again, then each file and folder of the home; the order goes last.

    The home's folder itself stays, empty. No node may run in it. Raises WipeIncomplete, naming what
    is left; the order stays then.
    """
    destroy_keys(home)
    left: list[str] = []
    _empty(home.path, home.wipe_order, left)
    if left:
        raise WipeIncomplete(
            f"THE WIPE DID NOT COMPLETE. Still there in {home.path}: {', '.join(sorted(left)[:20])}.",
            hint="Check the owner and the disk, then: meshconsole panic. Every start tries again.",
        )
    with suppress(FileNotFoundError):
        home.wipe_order.unlink()
    _sync(home.path)


def _empty(folder: Path, kept: Path, left: list[str]) -> None:
    """Deletes what `folder` holds, but `kept`; links are deleted, not followed."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        left.append(str(folder))
        return
    for entry in entries:
        path = folder / entry.name
        if path == kept:
            continue
        try:
            if entry.is_dir(follow_symlinks=False):
                _empty(path, kept, left)
                path.rmdir()
            else:
                if folder == kept.parent and path.suffix not in _CIPHERTEXT:
                    _overwrite_small(path)
                path.unlink()
        except FileNotFoundError:
            continue
        except OSError:
            left.append(entry.name)


def _overwrite_small(path: Path) -> None:
    """Logs and configuration; what is not encrypted is small."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or not 0 < found.st_size <= OVERWRITTEN_BYTES:
        return
    with suppress(MeshconsoleError):
        overwrite(path, os.urandom(found.st_size))


def _sync(folder: Path) -> None:
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
