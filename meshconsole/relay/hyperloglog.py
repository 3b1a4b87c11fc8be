"""NIP-45's HyperLogLog: 256 registers that relays fill alike and clients merge. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

REGISTERS = 256


def registers_of(pubkeys: Iterable[bytes], offset: int) -> bytes:
    """The registers for the authors (32 bytes each) of the counted events.

    `offset` chooses the byte that names the register; it comes from the filter (NIP-45).
    """
    registers = bytearray(REGISTERS)
    for pubkey in pubkeys:
        rest = pubkey[offset + 1 :]
        zeros = 8 * len(rest) - int.from_bytes(rest, "big").bit_length()
        place = pubkey[offset]
        registers[place] = max(registers[place], zeros + 1)
    return bytes(registers)
