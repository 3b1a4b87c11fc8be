"""base32 and base58btc text for CIDs (multiformats/multibase, RFC 4648). Pure, canonical forms only."""

from __future__ import annotations

import base64
import binascii

from meshconsole.core.errors import RemoteError

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE58_VALUE = {char: value for value, char in enumerate(_BASE58)}
_BASE32_CHARS = frozenset("abcdefghijklmnopqrstuvwxyz234567")


def encode_base32(data: bytes) -> str:
    """Lower case, without padding."""
    return base64.b32encode(data).decode("ascii").rstrip("=").lower()


def decode_base32(text: str) -> bytes:
    """Raises RemoteError("bad-text") for capitals, padding, or spare bits that are not zero."""
    if not _BASE32_CHARS.issuperset(text):
        raise RemoteError("bad-text", "The text has characters that are not lower-case base32.")
    try:
        data = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except binascii.Error:
        raise RemoteError("bad-text", "The length of the text does not fit base32.") from None
    if encode_base32(data) != text:
        raise RemoteError("bad-text", "The text is not in canonical base32.")
    return data


def encode_base58(data: bytes) -> str:
    """The Bitcoin alphabet; a leading zero byte is a leading "1"."""
    number = int.from_bytes(data, "big")
    digits: list[str] = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(_BASE58[digit])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(digits))


def decode_base58(text: str) -> bytes:
    """Raises RemoteError("bad-text"). The cost is quadratic: callers bound the length of `text`."""
    number = 0
    for char in text:
        value = _BASE58_VALUE.get(char)
        if value is None:
            raise RemoteError("bad-text", "The text has characters that are not base58.")
        number = number * 58 + value
    zeros = len(text) - len(text.lstrip("1"))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")
