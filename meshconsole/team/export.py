"""The team's epoch keys as a document that outlives this program. Pure.

With a key of it, whoever has a sealed note or file opens that with standard parts: HKDF-Expand with
SHA-512 gives the key for the purpose, Cobblestone-256 the text (docs/protocol.md, Team).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from meshconsole.team.knowledge import Knowledge

FORMAT = "mc/epochs/v1"


class Epoch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`secret` and `commit` in hex; the roster names the commitment."""

    n: int
    commit: str
    secret: str


class EpochKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    team: str
    name: str
    suite: str
    epochs: tuple[Epoch, ...]


def epoch_keys(team: Knowledge) -> bytes:
    """JSON, with every epoch that this device holds the key of."""
    epochs = tuple(Epoch(key.n, key.commit, key.secret.hex()) for key in team.epochs_held())
    document = EpochKeys(FORMAT, team.team_id.hex(), team.name, team.suite.name, epochs)
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
