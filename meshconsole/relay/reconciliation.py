"""The asking half of NIP-77: from a filter and what is held here to what each side lacks. Pure.

The machine yields differences as they are found; `still_needed` then leaves out what this store has
settled (held, deleted, superseded, refused for good), or such ids would be fetched at every sync for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from meshconsole.core.errors import Refused, RemoteError
from meshconsole.relay.filter import encode_filter
from meshconsole.relay.negentropy import DEFAULT_FRAME_BYTES, Initiator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshconsole.relay.filter import Filter
    from meshconsole.relay.items import ItemVector
    from meshconsole.relay.store import EventStore


class Differences(NamedTuple):
    """Ids in hex: `have` are those that only this side has, `need` those that only the relay has."""

    have: list[str]
    need: list[str]


class Reconciliation:
    """One negotiation with a relay. `outbox` holds what is to be sent; `is_done` when all is known."""

    def __init__(
        self,
        identifier: str,
        wanted: Filter,
        items: ItemVector,
        *,
        frame_bytes: int = DEFAULT_FRAME_BYTES,
        max_need: int = 1_000_000,
    ) -> None:
        self.is_done = False
        self._id = identifier
        self._initiator = Initiator(items, frame_bytes, max_need=max_need)
        first = self._initiator.begin().hex()
        self.outbox = [_encode(("NEG-OPEN", identifier, msgspec.Raw(encode_filter(wanted)), first))]

    def receive(self, message: bytes) -> Differences:
        """A message of the relay; one that is not about this negotiation brings no differences. Raises
        Refused for a NEG-ERR, RemoteError for what is not NIP-77; both end the negotiation."""
        try:
            parts = _decode(message)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return Differences([], [])
        match parts:
            case ["NEG-ERR", self._id, str(reason), *_]:
                self.is_done = True
                code, _, sentence = reason.partition(": ")
                raise Refused(code, sentence or reason)
            case ["NEG-MSG", self._id, str(text)] if not self.is_done:
                return self._go_on(text)
            case _:
                return Differences([], [])

    def _go_on(self, text: str) -> Differences:
        try:
            step = self._initiator.receive(bytes.fromhex(text))
        except ValueError:
            self.is_done = True
            raise RemoteError("bad-negentropy", "the relay's message is not hex") from None
        except RemoteError:
            self.is_done = True
            raise
        self.is_done = step.reply is None
        if step.reply is None:
            self.outbox.append(_encode(("NEG-CLOSE", self._id)))
        else:
            self.outbox.append(_encode(("NEG-MSG", self._id, step.reply.hex())))
        return Differences([one.hex() for one in step.have], [one.hex() for one in step.need])


def still_needed(store: EventStore, need: Sequence[str]) -> list[str]:
    """What is worth fetching. May block."""
    settled = store.settled(need)
    return [event_id for event_id in dict.fromkeys(need) if event_id not in settled]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[object]).decode
