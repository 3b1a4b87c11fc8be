"""multistream-select 1.0: two sides agree on the protocol of a connection or a stream.

A line is its length, the name and a newline. The dialler proposes, the listener repeats what it takes
and answers "na" to what it does not. Source: multiformats/multistream-select.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from meshconsole.content.formats.varint import encode_varint
from meshconsole.core.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

HEADER = "/multistream/1.0.0"
NOT_AVAILABLE = "na"
MAX_LINE_BYTES = 1024
MAX_PROPOSALS = 16


class Duplex(Protocol):
    """What bytes can be read from and written to."""

    async def read_exactly(self, count: int, /) -> bytes: ...

    async def write(self, data: bytes, /) -> None: ...


def encode_lines(*lines: str) -> bytes:
    return b"".join(encode_varint(len(line) + 1) + line.encode() + b"\n" for line in lines)


async def propose(duplex: Duplex, protocols: Sequence[str]) -> str:
    """The first protocol that the other side takes. Raises RemoteError("no-protocol" | "bad-multistream")."""
    await duplex.write(encode_lines(HEADER, protocols[0]))
    await _expect_header(duplex)
    for number, protocol in enumerate(protocols):
        if number:
            await duplex.write(encode_lines(protocol))
        answer = await read_line(duplex)
        if answer == protocol:
            return protocol
        if answer != NOT_AVAILABLE:
            raise RemoteError("bad-multistream", "The peer answers with a protocol that was not proposed.")
    raise RemoteError("no-protocol", f"The peer does not speak {' or '.join(protocols)}.")


async def answer(duplex: Duplex, protocols: Collection[str]) -> str:
    """What the other side proposes and is spoken here. Raises RemoteError("no-protocol" |
    "bad-multistream")."""
    await _expect_header(duplex)
    await duplex.write(encode_lines(HEADER))
    for _ in range(MAX_PROPOSALS):
        proposed = await read_line(duplex)
        if proposed in protocols:
            await duplex.write(encode_lines(proposed))
            return proposed
        await duplex.write(encode_lines(NOT_AVAILABLE))
    raise RemoteError("no-protocol", f"The peer proposed {MAX_PROPOSALS} protocols, none of which is spoken.")


async def read_line(duplex: Duplex) -> str:
    length = await read_length(duplex, MAX_LINE_BYTES)
    line = await duplex.read_exactly(length)
    if line[-1:] != b"\n":
        raise RemoteError("bad-multistream", "A line does not end with a newline.")
    try:
        return line[:-1].decode("ascii")
    except UnicodeDecodeError:
        raise RemoteError("bad-multistream", "The name of a protocol is not ASCII.") from None


async def read_length(duplex: Duplex, most: int) -> int:
    """A varint before a line or a message. Raises RemoteError("bad-varint" | "oversize")."""
    length = 0
    for index in range(5):
        byte = (await duplex.read_exactly(1))[0]
        length |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if byte == 0 and index:
                raise RemoteError("bad-varint", "A length is not in its shortest form.")
            if length > most:
                raise RemoteError(
                    "oversize", f"A message of {length} bytes is announced; {most} are allowed."
                )
            return length
    raise RemoteError("bad-varint", "A length is over 32 bits.")


async def _expect_header(duplex: Duplex) -> None:
    if await read_line(duplex) != HEADER:
        raise RemoteError("bad-multistream", "The peer does not speak multistream-select 1.0.")
