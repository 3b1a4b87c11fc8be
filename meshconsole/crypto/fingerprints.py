"""The fingerprint of a device's keys in each form that people compare: groups, words, QR code.

All three are the same 160 bits (`bundle.fingerprint`). The words are those of SLIP-39: 1024 of them, no
two with the same first four letters, so that each stands for ten bits and is hard to mishear. The
code in a QR is Bech32 with the prefix "mcfp". A name is never part of it: names do not identify.
"""

from __future__ import annotations

from functools import lru_cache

from meshconsole.core.errors import Refused
from meshconsole.crypto import bech32
from meshconsole.crypto.bundle import FINGERPRINT_ALPHABET, fingerprint

FINGERPRINT_LEN = 20
WORD_COUNT = 16
PREFIX = "mcfp"
MAX_TEXT_LEN = 512
_BITS_IN_A_WORD = 10
_LOOKALIKES = str.maketrans("OIL", "011")  # as Crockford reads them


def in_words(bits: bytes) -> tuple[str, ...]:
    """16 words for 20 bytes."""
    number = int.from_bytes(bits, "big")
    shifts = range(_BITS_IN_A_WORD * (WORD_COUNT - 1), -1, -_BITS_IN_A_WORD)
    return tuple(_words()[number >> shift & (1 << _BITS_IN_A_WORD) - 1] for shift in shifts)


def in_code(bits: bytes) -> str:
    """ "mcfp1..." of 43 characters; in capitals it fits a QR code of 29 modules."""
    return bech32.encode(PREFIX, bits)


def in_groups(bits: bytes) -> str:
    """8 groups of 4 characters."""
    return fingerprint(bits)


def read_fingerprint(text: str) -> bytes:
    """The 20 bytes of any of the three forms, as typed or scanned. Raises Refused and says what is wrong."""
    if len(text) > MAX_TEXT_LEN:
        raise Refused("invalid", "That is too long for a fingerprint.")
    parts = text.split()
    if len(parts) == 1 and parts[0].lower().startswith(f"{PREFIX}1"):
        return _from_code(parts[0])
    if len(parts) >= WORD_COUNT:
        return _from_words(parts)
    return _from_groups("".join(parts).replace("-", ""))


def _from_code(text: str) -> bytes:
    _, bits = bech32.decode(text)
    if len(bits) != FINGERPRINT_LEN:
        raise Refused("invalid", "This code is of another length than a fingerprint.")
    return bits


def _from_words(words: list[str]) -> bytes:
    if len(words) != WORD_COUNT:
        raise Refused("invalid", f"A fingerprint has {WORD_COUNT} words, and these are {len(words)}.")
    number = 0
    for place, word in enumerate(words, 1):
        value = _values().get(word.lower()[:4])
        if value is None or not _words()[value].startswith(word.lower()):
            raise Refused("invalid", f"Word {place} is not in the list.")
        number = number << _BITS_IN_A_WORD | value
    return number.to_bytes(FINGERPRINT_LEN, "big")


def _from_groups(text: str) -> bytes:
    typed = text.upper().translate(_LOOKALIKES)
    wanted = FINGERPRINT_LEN * 8 // 5
    if len(typed) != wanted:
        raise Refused(
            "invalid",
            f"A fingerprint has {wanted} characters or {WORD_COUNT} words; these are {len(typed)}.",
        )
    number = 0
    for place, char in enumerate(typed, 1):
        value = FINGERPRINT_ALPHABET.find(char)
        if value < 0:
            raise Refused("invalid", f"Character {place} does not belong in a fingerprint.")
        number = number << 5 | value
    return number.to_bytes(FINGERPRINT_LEN, "big")


def _words() -> list[str]:
    from shamir_mnemonic.wordlist import WORDLIST

    return list(WORDLIST) if not isinstance(WORDLIST, list) else WORDLIST


@lru_cache(maxsize=1)
def _values() -> dict[str, int]:
    """Value by the first four letters, which no two words share."""
    return {word[:4]: value for value, word in enumerate(_words())}
