"""BIP-340 checks of many events, off the loop. Pure computation; parsed keys are cached per author.

The hash was computed when the event was read, so only the curve arithmetic is left (about 30 us),
and libsecp256k1 runs without the interpreter's lock.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from coincurve import PublicKeyXOnly

if TYPE_CHECKING:
    from meshconsole.relay.event import ReadEvent


def has_valid_signature(read: ReadEvent) -> bool:
    """`read` comes from `read_event`, so lengths and hex digits are right already."""
    try:
        key = _key(read.event.pubkey)
    except ValueError:
        return False  # not the x coordinate of a point on the curve
    return bool(key.verify(bytes.fromhex(read.event.sig), read.digest))


@lru_cache(maxsize=4096)
def _key(pubkey: str) -> PublicKeyXOnly:
    return PublicKeyXOnly(bytes.fromhex(pubkey))
