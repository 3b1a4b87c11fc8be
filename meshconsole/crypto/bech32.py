"""Bech32 (BIP-173) for keys and seeds that people copy by hand. Pure.

As in NIP-19 the 90-character limit of BIP-173 does not apply; 1000 characters are the limit here.
"""

from __future__ import annotations

from meshconsole.core.errors import Refused

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUE = {char: value for value, char in enumerate(_ALPHABET)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_LEN = 6
MAX_LEN = 1000


def encode(prefix: str, data: bytes) -> str:
    """`prefix`, "1", `data` in 5-bit characters and a checksum of 6 characters; lower case."""
    values = _regroup(data, 8, 5, pad=True)
    check = _polymod(_spread(prefix) + values + [0] * _CHECKSUM_LEN) ^ 1
    checksum = [(check >> 5 * (5 - i)) & 31 for i in range(_CHECKSUM_LEN)]
    return f"{prefix}1" + "".join(_ALPHABET[value] for value in values + checksum)


def decode(text: str) -> tuple[str, bytes]:
    """(prefix, data). Raises Refused("invalid") and says what is wrong."""
    if len(text) > MAX_LEN:
        raise Refused("invalid", "This code is too long.")
    if text.lower() != text and text.upper() != text:
        raise Refused("invalid", "This code mixes upper and lower case.")
    text = text.lower()
    prefix, separator, body = text.rpartition("1")
    if not separator or not prefix or len(body) < _CHECKSUM_LEN:
        raise Refused("invalid", "This code is incomplete.")
    if not all(33 <= ord(char) <= 126 for char in prefix):
        raise Refused("invalid", "This code has a character that does not belong in it.")
    try:
        values = [_VALUE[char] for char in body]
    except KeyError as error:
        at = len(prefix) + 2 + body.index(error.args[0])
        raise Refused("invalid", f"This code has a wrong character at position {at}.") from None
    if _polymod(_spread(prefix) + values) != 1:
        raise Refused("invalid", "This code has a typing error: its checksum does not fit.")
    return prefix, bytes(_regroup(values[:-_CHECKSUM_LEN], 5, 8, pad=False))


def _spread(prefix: str) -> list[int]:
    return [ord(char) >> 5 for char in prefix] + [0] + [ord(char) & 31 for char in prefix]


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                check ^= generator
    return check


def _regroup(data: bytes | list[int], from_bits: int, to_bits: int, *, pad: bool) -> list[int]:
    """Bits in other groups; without `pad` the bits left over must be fewer than a group and zero."""
    out: list[int] = []
    bits = count = 0
    for value in data:
        bits = (bits << from_bits | value) & 0xFFFF
        count += from_bits
        while count >= to_bits:
            count -= to_bits
            out.append(bits >> count & (1 << to_bits) - 1)
    rest = bits & (1 << count) - 1
    if pad:
        if count:
            out.append(rest << (to_bits - count))
    elif count >= from_bits or rest:
        raise Refused("invalid", "This code has stray bits at its end.")
    return out
