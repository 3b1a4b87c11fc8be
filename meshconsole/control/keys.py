"""The keys of the home, and what opens them. Pure.

The only messages that carry a secret: a passphrase on its way in, or the keys of a backup. None shows it.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from meshconsole.control.wire import AbsolutePath, Message


class Unlock(Message, frozen=True):
    """Opens a home that waits for its passphrase. Where it is open: tells whether it is the right one."""

    passphrase: Annotated[str, Meta(max_length=1024)]

    def __repr__(self) -> str:
        return "Unlock(passphrase=…)"


class Panic(Message, frozen=True):
    """Destroys the keys of the home before it is answered; then the node stops and deletes the rest."""


class ExportKeys(Message, frozen=True):
    """Writes the team's epoch keys to an age file (0600), for a passphrase or for age recipients.
    Answered with `CountsData`."""

    path: AbsolutePath
    passphrase: Annotated[str, Meta(max_length=1024)] = ""
    recipients: Annotated[tuple[Annotated[str, Meta(max_length=4096)], ...], Meta(max_length=32)] = ()

    def __repr__(self) -> str:
        return f"ExportKeys(path={self.path!r}, passphrase=…)"


class RestoreKeys(Message, frozen=True):
    """Takes in epoch keys that a backup held, opened already. Answered with `CountsData`."""

    document: Annotated[bytes, Meta(max_length=768 * 1024)]

    def __repr__(self) -> str:
        return "RestoreKeys(…)"


KeyCommand = Unlock | Panic | ExportKeys | RestoreKeys
