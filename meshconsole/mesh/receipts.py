"""Receipts: what became of the notes that this device has sent, and the proofs that others sign. Pure.

A receipt is signed by the device that gives it, and says that a note is durably stored there, or that
somebody has read it. That a neighbour has acknowledged the note while syncing counts as carried.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Literal

import msgspec

from meshconsole.core.status import SentStatus
from meshconsole.crypto.encoding import lp
from meshconsole.crypto.schnorr import verify_signature
from meshconsole.mesh.messages import Receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from meshconsole.crypto.identity import Identity

Word = Literal["delivered", "read"]
MAX_SENT = 128


def make_receipt(me: Identity, event_id: bytes, word: Word) -> Receipt:
    npub = bytes.fromhex(me.npub)
    return Receipt(event_id, npub, word, me.sign_digest(_digest(event_id, npub, word)))


def is_genuine(receipt: Receipt) -> bool:
    return verify_signature(receipt.npub, receipt.sig, _digest(receipt.event, receipt.npub, receipt.word))


def _digest(event_id: bytes, npub: bytes, word: str) -> bytes:
    return sha256(lp("mc/receipt/v1", event_id, npub, word)).digest()


class Sent(msgspec.Struct):
    """One note of this device. Whoever has read it has it; whoever has it has been brought it."""

    id: bytes
    at: float
    precedence: str
    to: frozenset[str]
    """The devices (npub) that read, when it was sent."""
    carried: set[str] = msgspec.field(default_factory=set)
    """Neighbours that have it, those that only pass it on too."""
    delivered: set[str] = msgspec.field(default_factory=set)
    read: set[str] = msgspec.field(default_factory=set)

    def status(self) -> SentStatus:
        has = (self.carried | self.delivered | self.read) & self.to
        return SentStatus(
            id=self.id.hex(),
            at=self.at,
            precedence=self.precedence,
            state=self._state(has),
            to=len(self.to),
            has=tuple(sorted(has)),
            lacks=tuple(sorted(self.to - has)),
            read=tuple(sorted(self.read)),
        )

    def _state(self, has: set[str]) -> str:
        if self.read:
            return f"read {len(self.read)}/{len(self.to)}"
        if self.to and has == self.to:
            return "delivered"
        if has:
            return f"carried {len(has)}/{len(self.to)}"
        return "at hub" if self.carried else "queued"


class SentNotes(msgspec.Struct):
    """The newest MAX_SENT."""

    _notes: dict[bytes, Sent] = msgspec.field(default_factory=dict)

    def add(self, note: Sent) -> None:
        self._notes[note.id] = note
        if len(self._notes) > MAX_SENT:
            del self._notes[next(iter(self._notes))]

    def get(self, event_id: bytes) -> Sent | None:
        return self._notes.get(event_id)

    def is_with(self, event_id: bytes, npub: str) -> bool:
        """Whether that device has it, as far as is known."""
        note = self._notes.get(event_id)
        return note is not None and (npub in note.carried or npub in note.delivered)

    @property
    def are_waiting(self) -> bool:
        """Whether somebody still lacks one of them, as far as is known."""
        return any(note.to - note.carried - note.delivered for note in self._notes.values())

    def acknowledged(self, receipt: Receipt) -> bool:
        """True if it is about a note of this device, to that one."""
        note = self._notes.get(receipt.event)
        npub = receipt.npub.hex()
        if note is None or npub not in note.to:
            return False
        note.delivered.add(npub)
        if receipt.word == "read":
            note.read.add(npub)
        return True

    def delivered(self, event_id: bytes, npub: str) -> None:
        """That device has said that it has the note."""
        note = self._notes.get(event_id)
        if note is not None and npub in note.to:
            note.delivered.add(npub)

    def look(self, npub: str, has: Callable[[bytes], bool]) -> None:
        """Which of the notes a linked peer has by now."""
        for note in self._notes.values():
            if npub not in note.carried and has(note.id):
                note.carried.add(npub)

    def status(self) -> Iterable[SentStatus]:
        """The newest first."""
        return (note.status() for note in reversed(self._notes.values()))
