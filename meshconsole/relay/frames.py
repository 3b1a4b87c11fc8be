"""RFC 6455 frames as far as a relay's short way needs them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    from websockets.speedups import apply_mask
except ImportError:  # the library was installed without its C extension
    from websockets.utils import apply_mask

if TYPE_CHECKING:
    from collections.abc import Iterable

TEXT = 0x81
"""First byte of a whole text frame: FIN, no reserved bits, opcode 1."""

NEED_MORE: tuple[None, int] = (None, -1)


def next_frame(data: bytes | bytearray, start: int, max_size: int) -> tuple[bytes | None, int]:
    """The payload of the text frame at `start`, and where the next frame begins.

    None for the payload means: some other frame, or one that is refused; give the bytes up to the
    returned place to the library. NEED_MORE means that the frame is not all there yet.
    """
    size = len(data)
    if size - start < 2:
        return NEED_MORE
    length = data[start + 1] & 0x7F
    mask = start + 2
    if length == 126:
        mask += 2
        if size < mask:
            return NEED_MORE
        length = data[start + 2] << 8 | data[start + 3]
    elif length == 127:
        mask += 8
        if size < mask:
            return NEED_MORE
        length = int.from_bytes(data[start + 2 : mask], "big")
    if length > max_size or not data[start + 1] & 0x80:
        return None, size  # the library knows how to refuse it
    body = mask + 4
    end = body + length
    if size < end:
        return NEED_MORE
    if data[start] != TEXT:
        return None, end
    return apply_mask(data[body:end], data[mask:body]), end


def text_frames(messages: Iterable[bytes]) -> bytes:
    """Unmasked text frames, one after the other, for a single write."""
    parts: list[bytes] = []
    for message in messages:
        parts.append(_HEADERS.get(len(message)) or _header(len(message)))
        parts.append(message)
    return b"".join(parts)


def _header(size: int) -> bytes:
    if size < 126:
        return bytes((TEXT, size))
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big")
    return b"\x81\x7f" + size.to_bytes(8, "big")


_HEADERS = {size: _header(size) for size in range(1024)}
"""Of nearly all messages; 60 kB."""
