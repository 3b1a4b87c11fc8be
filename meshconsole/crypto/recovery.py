"""What a backup of a device's identity holds, and the two forms that people can keep.

The bytes: suite, 1 if a Nostr key of the owner's own follows, the 32-byte seed, that Nostr key. As
text they are Bech32 with the prefix "mcseed", also in QR codes; in parts they are SLIP-39 shares,
of which some number is enough and one fewer says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshconsole.core.errors import MeshconsoleError, Refused
from meshconsole.crypto import bech32
from meshconsole.crypto.schnorr import check_secret
from meshconsole.crypto.suites import suite_by_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshconsole.crypto.keystore import Secrets

PREFIX = "mcseed"
SHARES = 5
THRESHOLD = 3
MAX_SHARES = 16
"""SLIP-39's own bound."""
MAX_TEXT_LEN = 16384
_KEY_LEN = 32
_HEADER_LEN = 2
_SHORT, _LONG = _HEADER_LEN + _KEY_LEN, _HEADER_LEN + 2 * _KEY_LEN


@dataclass(frozen=True)
class Recovered:
    """An identity as a backup keeps it. Its `repr` shows nothing."""

    suite: int = field(repr=False)
    seed: bytes = field(repr=False)
    nsec: bytes | None = field(repr=False, default=None)

    @classmethod
    def of(cls, secrets: Secrets) -> Recovered:
        return cls(secrets.suite, secrets.seed, secrets.nsec)

    @property
    def encoded(self) -> bytes:
        return bytes([self.suite, int(self.nsec is not None)]) + self.seed + (self.nsec or b"")


def decode_identity(data: bytes) -> Recovered:
    """The inverse of `encoded`. Raises Refused."""
    if len(data) not in (_SHORT, _LONG) or data[1] != (len(data) == _LONG):
        raise Refused("invalid", "This is no backup of a meshconsole device.")
    suite = suite_by_id(data[0]).id
    try:
        nsec = check_secret(data[_SHORT:]) if len(data) == _LONG else None
    except MeshconsoleError:
        raise Refused("invalid", "The Nostr key in this backup is not possible.") from None
    return Recovered(suite, data[_HEADER_LEN:_SHORT], nsec)


def to_text(identity: Recovered) -> str:
    """ "mcseed1..." of 68 characters, or 119 with a Nostr key of the owner's own."""
    return bech32.encode(PREFIX, identity.encoded)


def to_shares(identity: Recovered, threshold: int = THRESHOLD, shares: int = SHARES) -> list[str]:
    """SLIP-39 phrases, any `threshold` of which restore the identity. Raises Refused."""
    if not 2 <= threshold <= shares <= MAX_SHARES:
        raise Refused("invalid", f"Shares are 2 to {MAX_SHARES}, and no more may be needed than there are.")
    from shamir_mnemonic import generate_mnemonics

    (phrases,) = generate_mnemonics(1, [(threshold, shares)], identity.encoded)
    return list(phrases)


def read_backup(text: str) -> Recovered:
    """From either form: one code, or shares with one on each line. Raises Refused with what is wrong."""
    if len(text) > MAX_TEXT_LEN:
        raise Refused("invalid", "That is longer than any backup.")
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    if not lines:
        raise Refused("invalid", "No backup was given.")
    if len(lines) == 1 and " " not in lines[0]:
        prefix, data = bech32.decode(lines[0])
        if prefix != PREFIX:
            raise Refused("invalid", f"This begins with {prefix}1, but a backup begins with {PREFIX}1.")
        return decode_identity(data)
    return decode_identity(_combined(lines))


def _combined(phrases: Iterable[str]) -> bytes:
    from shamir_mnemonic import MnemonicError, Share, combine_mnemonics

    unique: dict[str, int] = {}
    for number, phrase in enumerate(phrases, 1):
        try:
            share = Share.from_mnemonic(phrase.lower())
        except MnemonicError as error:
            raise Refused("invalid", f"Share {number} is not right: {error}".rstrip(".") + ".") from None
        if share.group_threshold != 1 or share.iteration_exponent > 5:
            # SLIP-39 leaves the exponent to the share: 15 would be hours of computing.
            raise Refused("invalid", f"Share {number} was not made by meshconsole.")
        unique.setdefault(phrase.lower(), share.member_threshold)
    needed = max(unique.values())
    if len(unique) < needed:
        raise Refused(
            "invalid",
            f"{len(unique)} different shares were given, and {needed} are needed.",
            hint="Add more.",
        )
    try:
        return bytes(combine_mnemonics(list(unique)[:needed]))
    except MnemonicError as error:
        raise Refused("invalid", f"These shares do not belong together: {error}".rstrip(".") + ".") from None
