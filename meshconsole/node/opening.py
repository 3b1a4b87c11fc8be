"""What opens a home when its node starts: a passphrase, a key file, or what the service manager holds.

It loads the keystore and nothing else: stretching a passphrase begins before the rooms are loaded.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from meshconsole.core.errors import Fatal
from meshconsole.crypto.keystore import Keystore
from meshconsole.crypto.private_file import read_bounded

if TYPE_CHECKING:
    from meshconsole.core.home import Home
    from meshconsole.crypto.keystore import Secrets

KEY_CREDENTIAL = "meshconsole.key"
PASSPHRASE_CREDENTIAL = "meshconsole.passphrase"
"""Names of the systemd credentials that a unit may hand to its node."""

MAX_PASSPHRASE_FILE = 65536


def open_keystore(home: Home, passphrase: str | None, keyfile: Path | None = None) -> Secrets | None:
    """The secrets, by the passphrase or key file given, else by what the service manager holds for
    this node, else by the key file in the home. None when there is nothing of these: it is locked.

    Raises Fatal when what was given does not open it, and when no node is here.
    """
    if not home.keystore.exists():
        raise Fatal(f"There is no node in {home.path}.", hint="Create one with 'meshconsole init'.")
    if passphrase is not None:
        return Keystore.unlock(home.keystore, passphrase)
    for key in (keyfile, _credential(KEY_CREDENTIAL)):
        if key is not None:
            return Keystore.unlock(home.keystore, None, keyfile=key)
    if held := _credential(PASSPHRASE_CREDENTIAL):
        return Keystore.unlock(home.keystore, read_passphrase(held))
    if home.unlock_key.exists():
        return Keystore.unlock(home.keystore, None, keyfile=home.unlock_key)
    return None


def _credential(name: str) -> Path | None:
    """The file of a systemd credential that this process was given (systemd.exec(5), LoadCredential=)."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return None
    path = Path(folder) / name
    try:
        return path if path.is_file() else None
    except OSError as error:
        raise Fatal(
            f"The credential {path} cannot be read: {error.strerror}.",
            hint="See that this user may read its CREDENTIALS_DIRECTORY, or start without it.",
        ) from error


def read_passphrase(path: Path) -> str:
    """The first line of a file. Raises Fatal."""
    try:
        first = read_bounded(path, MAX_PASSPHRASE_FILE).split(b"\n", 1)[0].rstrip(b"\r").decode()
    except UnicodeDecodeError as error:
        raise Fatal(f"The passphrase file {path} is not UTF-8 text.") from error
    if not first:
        raise Fatal(f"The passphrase file {path} has an empty first line.")
    return first
