"""The names of things in a home: the folder that holds everything of one node. Pure (paths only)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pathlib import Path


class Home(msgspec.Struct, frozen=True):
    """Two nodes on one machine are two homes."""

    path: Path
    shared_socket: Path | None = None
    """Where another user's node lets this one attach: then nothing else of the home is seen."""

    @property
    def config(self) -> Path:
        return self.path / "config.toml"

    @property
    def keystore(self) -> Path:
        return self.path / "keystore"

    @property
    def unlock_key(self) -> Path:
        """The key file of a node that starts unattended without a passphrase."""
        return self.path / "unlock.key"

    @property
    def database(self) -> Path:
        return self.path / "node.db"

    @property
    def blobs(self) -> Path:
        return self.path / "blobs"

    @property
    def audit_log(self) -> Path:
        return self.path / "audit.log"

    @property
    def watermark(self) -> Path:
        """How far the home had come, so that a database or log that was set back is noticed."""
        return self.path / "watermark"

    @property
    def log(self) -> Path:
        return self.path / "node.log"

    @property
    def control_socket(self) -> Path:
        return self.shared_socket or self.path / "control.sock"

    @property
    def tls_certificate(self) -> Path:
        """Made by the node itself, for plain clients by wss://; its key is beside it."""
        return self.path / "tls.pem"

    @property
    def tls_key(self) -> Path:
        return self.path / "tls.key"

    @property
    def lock(self) -> Path:
        return self.path / "node.lock"

    @property
    def wipe_order(self) -> Path:
        """Exists from the moment a wipe is ordered until nothing of the home is left."""
        return self.path / "wipe.ordered"

    @property
    def keys(self) -> Path:
        """The keys that this home's owner wants in the console."""
        return self.path / "keys.toml"

    @property
    def themes(self) -> Path:
        return self.path / "themes"
