"""A wipe that is killed at every touch of the file system, one after the other. Prints what was left.

Run as a process of its own: it forks, and the hooks that count cannot be taken out again.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

from meshconsole.core.errors import MeshconsoleError
from meshconsole.core.home import Home
from meshconsole.crypto import passphrase
from meshconsole.crypto.keystore import Keystore, device_secret_path
from meshconsole.crypto.passphrase import KdfParams
from meshconsole.node.wipe import finish_wipe, wipe_is_owed

PASSPHRASE = "correct horse"
TOUCHES = {"open", "os.remove", "os.rename", "os.rmdir", "os.scandir"}
MOST = 500


def make(home: Home) -> None:
    """A home with something of everything."""
    home.path.mkdir()
    Keystore.create(home.keystore, PASSPHRASE, keyfile=home.unlock_key, params=passphrase.SMALL)
    for path in (home.config, home.audit_log, home.log, home.lock, home.path / "bugs.log"):
        path.write_bytes(b"plain words")
    for suffix in ("", "-wal", "-shm"):
        home.path.joinpath(f"node.db{suffix}").write_bytes(bytes(5000))
    inner = home.blobs / "ab" / "cd"
    inner.mkdir(parents=True)
    (inner / "block").write_bytes(b"sealed")
    (home.path / "link").symlink_to(home.path.parent / "outside")
    (home.path.parent / "outside").write_bytes(b"not ours")


def opens(home: Home) -> bool:
    """With the passphrase or the key file."""
    opened = 0
    for given in ((PASSPHRASE, None), (None, home.unlock_key)):
        try:
            Keystore.unlock(home.keystore, *given)
            opened += 1
        except MeshconsoleError:
            continue
    return opened > 0


def killed_at(home: Home, number: int) -> bool:
    """Runs the wipe in a child that is killed before its touch `number`. False if it came to its end."""
    child = os.fork()
    if child == 0:
        count = 0

        def touch() -> None:
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

        def hook(name: str, arguments: tuple[object, ...]) -> None:
            if name in TOUCHES and str(arguments[0]).startswith(str(home.path)):
                touch()

        sync = os.fsync

        def counted_sync(descriptor: int) -> None:
            touch()
            sync(descriptor)

        os.fsync = counted_sync  # type: ignore[assignment]
        sys.addaudithook(hook)
        finish_wipe(home)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def main() -> None:
    folder = Path(sys.argv[1])
    passphrase.SMALL = KdfParams(64, 1, 1)
    seen = []
    for number in range(1, MOST):
        home = Home(folder / str(number))
        home.path.parent.mkdir(exist_ok=True)
        make(home)
        killed = killed_at(home, number)
        found: dict[str, object] = {
            "owed": wipe_is_owed(home),
            "opens": opens(home),
            "device secret": device_secret_path(home.keystore).exists(),
            "left before": len(list(home.path.rglob("*"))),
        }
        if wipe_is_owed(home):
            finish_wipe(home)
        found["left"] = sorted(str(path.relative_to(home.path)) for path in home.path.rglob("*"))
        found["outside"] = (folder / "outside").exists()
        seen.append(found)
        shutil.rmtree(home.path)
        if not killed:
            break
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
