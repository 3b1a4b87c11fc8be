"""RFC 6455 frames as far as a relay's short way needs them. Pure."""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING

try:
    from websockets.speedups import apply_mask
except ImportError:  # the library was installed without its C extension
    from websockets.utils import apply_mask

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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


class Batch:
    """EVENT messages of one subscription, one for each of `raws`, that are sent together. As long as they
    stand together an event costs a look-up and two places in a list; as a message, three copies."""

    __slots__ = ("prefix", "raws", "size")

    def __init__(self, prefix: bytes, raws: Sequence[bytes]) -> None:
        self.prefix = prefix
        self.raws = raws
        self.size = sum(map(len, raws)) + (len(prefix) + 1) * len(raws)

    def __len__(self) -> int:
        """Bytes of the messages."""
        return self.size

    def messages(self) -> list[bytes]:
        prefix = self.prefix
        return [prefix + raw + b"]" for raw in self.raws]

    def parts(self, limit: int) -> list[Batch]:
        """Batches of about `limit` bytes."""
        if self.size <= limit:
            return [self]
        count = max(1, len(self.raws) * limit // self.size)
        return [
            Batch(self.prefix, self.raws[start : start + count]) for start in range(0, len(self.raws), count)
        ]

    def frames(self) -> list[bytes]:
        """What `text_frames` joins."""
        count = len(self.raws)
        around = len(self.prefix) + 1
        parts = [self.prefix, self.prefix, b"", b"]"] * count
        parts[::4] = [header(len(raw) + around) for raw in self.raws]
        parts[2::4] = self.raws
        return parts


def text_frames(messages: Iterable[bytes | Batch]) -> bytes:
    """Unmasked text frames, one after the other, for a single write."""
    parts: list[bytes] = []
    for message in messages:
        if isinstance(message, Batch):
            parts += message.frames()
        else:
            parts.append(header(len(message)))
            parts.append(message)
    return b"".join(parts)


class Framing:
    """Text frames for many connections, of which often all are sent the same in a turn of the loop: what
    was joined last is kept, for a hundredth of the time that it takes to join it again."""

    def __init__(self) -> None:
        self._messages: Sequence[bytes | Batch] = ()
        self._joined = b""

    def text_frames(self, messages: Sequence[bytes | Batch]) -> bytes:
        if messages != self._messages:
            self._messages, self._joined = messages, text_frames(messages)
        return self._joined


def one_by_one(messages: Iterable[bytes | Batch]) -> list[bytes]:
    return list(chain.from_iterable(m.messages() if isinstance(m, Batch) else (m,) for m in messages))


def _header(size: int) -> bytes:
    if size < 126:
        return bytes((TEXT, size))
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big")
    return b"\x81\x7f" + size.to_bytes(8, "big")


header = lru_cache(2048)(_header)
"""What goes before a message of so many bytes. Most sizes come again and again."""
