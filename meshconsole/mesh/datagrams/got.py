"""What this device has got by datagram, and owes a word about to whoever sent it. Pure; times are in seconds.

One word names the newest notes from an address, so that it tells again what an earlier one told that may be
lost, and a hundred notes cost a few words. It is signed: whoever is told takes the notes for delivered.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from meshconsole.crypto.encoding import lp
from meshconsole.crypto.schnorr import verify_signature
from meshconsole.mesh.datagrams.messages import GOT_ID, MAX_GOT, Got

if TYPE_CHECKING:
    from meshconsole.crypto.identity import Identity

EVERY_S = 0.2
AT_ONCE_S, SPARSE_S = 0.05, 0.1
"""Where notes come further apart than SPARSE_S, each is told of nearly at once."""
MAX_ADDRESSES = 64


def make_got(me: Identity, ids: bytes) -> Got:
    npub = bytes.fromhex(me.npub)
    return Got(npub, ids, me.sign_digest(_digest(npub, ids)))


def is_genuine(got: Got) -> bool:
    return verify_signature(got.npub, got.sig, _digest(got.npub, got.ids))


def short(event_id: bytes) -> bytes:
    return event_id[:GOT_ID]


def ids_in(got: Got) -> frozenset[bytes]:
    """Beginnings of ids, as `short` makes them."""
    return frozenset(got.ids[at : at + GOT_ID] for at in range(0, len(got.ids) - GOT_ID + 1, GOT_ID))


def _digest(npub: bytes, ids: bytes) -> bytes:
    return sha256(lp("mc/got/v1", npub, ids)).digest()


class _Debt(msgspec.Struct):
    ids: deque[bytes] = msgspec.field(default_factory=lambda: deque(maxlen=MAX_GOT))
    is_due: bool = False
    said_at: float = -EVERY_S
    owed_at: float = -SPARSE_S
    wait_s: float = EVERY_S


class Owed(msgspec.Struct):
    _debts: OrderedDict[str, _Debt] = msgspec.field(default_factory=OrderedDict)

    def owe(self, address: str, event_id: bytes, now: float) -> None:
        debt = self._debts.pop(address, None) or _Debt()
        self._debts[address] = debt
        if len(self._debts) > MAX_ADDRESSES:
            self._debts.popitem(last=False)
        if short(event_id) in debt.ids:
            debt.ids.remove(short(event_id))
        debt.ids.append(short(event_id))
        debt.wait_s = AT_ONCE_S if now - debt.owed_at > SPARSE_S else EVERY_S
        debt.is_due, debt.owed_at = True, now

    def due(self, now: float) -> list[tuple[str, bytes]]:
        """Whom to tell now, and which notes."""
        told = []
        for address, debt in self._debts.items():
            if debt.is_due and now - debt.said_at >= debt.wait_s:
                debt.is_due, debt.said_at = False, now
                told.append((address, b"".join(debt.ids)))
        return told

    def next_timer(self) -> float | None:
        return min((debt.said_at + debt.wait_s for debt in self._debts.values() if debt.is_due), default=None)
