"""permessage-deflate (RFC 7692) for clients who ask for it, when the owner has chosen it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode

from meshconsole.relay.frames import text_frames

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from websockets.extensions import Extension

DEFLATE = ServerPerMessageDeflateFactory(
    server_max_window_bits=12, client_max_window_bits=12, compress_settings={"memLevel": 5}
)
"""Windows of 4 KiB: the context of a connection is what makes events small, and what costs its memory."""

MIN_DEFLATED = 64
"""Bytes of a message; smaller ones go as they are."""


def deflated_frames(messages: Iterable[bytes], extensions: Sequence[Extension]) -> bytes:
    """Text frames as `text_frames` makes them, compressed where that can be worth it; a message may always
    go as it is."""
    parts: list[bytes] = []
    for message in messages:
        if len(message) < MIN_DEFLATED:
            parts.append(text_frames((message,)))
        else:
            parts.append(bytes(Frame(Opcode.TEXT, message).serialize(mask=False, extensions=extensions)))
    return b"".join(parts)
