"""The team's epoch keys as a document that outlives this program. Pure.

With a key of it, whoever has a sealed note or file opens that with standard parts: HKDF-Expand with
SHA-512 gives the key for the purpose, Cobblestone-256 the text (docs/protocol.md, Team).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from meshconsole.core.errors import Refused
from meshconsole.team.epochs import EpochKey, checked
from meshconsole.team.ops import Hex32  # noqa: TC001 - msgspec reads the annotations

if TYPE_CHECKING:
    from meshconsole.team.knowledge import Knowledge

FORMAT = "mc/epochs/v1"
MAX_LEN = 768 * 1024
"""Of a document that is read back; some 3,700 epochs."""


class Epoch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`secret` and `commit` in hex; the roster names the commitment."""

    n: Annotated[int, Meta(ge=1, lt=1 << 53)]
    commit: Hex32
    secret: Hex32


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


def read_epoch_keys(data: bytes, team: bytes) -> list[EpochKey]:
    """The keys of that team from a document of `epoch_keys`. Each fits the commitment beside it; whether
    that is one of the roster's, the roster says. Raises Refused."""
    if len(data) > MAX_LEN:
        raise Refused("invalid", "That is no backup of epoch keys: it is too long.")
    try:
        document = msgspec.json.decode(data, type=EpochKeys)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Refused("invalid", f"That is no backup of epoch keys: {error}.") from None
    if document.format != FORMAT:
        raise Refused("invalid", "That is no backup of epoch keys of this version.")
    if document.team != team.hex():
        raise Refused(
            "invalid", "These are the keys of another team.", hint="A team is its id, not its name."
        )
    try:
        return [checked(EpochKey(team, e.n, bytes.fromhex(e.secret)), e.commit) for e in document.epochs]
    except Refused:
        raise Refused("invalid", "The backup is damaged: a key does not fit its commitment.") from None
