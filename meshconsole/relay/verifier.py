"""A process that checks signatures for its parent: `python -I -S verifier.py SOCKET_FD FOLDER…`.

A script that imports next to nothing, so that the process is as small as one of Python can be: the parent
reads and hashes events, here come records of 128 bytes, key, signature and digest. A batch is their number in
four bytes and the records; its answer is one byte for each, 1 where the signature is the key's. A single byte
comes first, when the process is ready. It ends when the parent's end closes, by whatever way.
"""

from __future__ import annotations

import sys

# The module around it brings enumerations, 1 MB; the types do not know it.
from _signal import SIG_IGN, SIGHUP, SIGINT, SIGTERM, signal  # type: ignore[import-not-found]
from posix import read, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KEY, SIGNATURE, DIGEST = 32, 64, 32
RECORD = KEY + SIGNATURE + DIGEST
COUNT = 4
MAX_KEYS = 4096
"""Authors whose keys are remembered, parsed."""


def received(receive: Callable[[int], bytes], size: int) -> bytes:
    """Raises EOFError when the other end has closed."""
    parts = []
    while size:
        part = receive(size)
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def answering(folders: Sequence[str]) -> Callable[[bytes], bytes]:
    """What answers a batch. `folders` are those in which the parent finds its packages."""
    # The C library of coincurve without its Python, which encodes and hashes too: 6 MB and half of the start.
    package = type(sys)("coincurve")
    package.__path__ = [f"{folder}/coincurve" for folder in folders]
    sys.modules["coincurve"] = package
    sys.path += folders
    from coincurve._libsecp256k1 import ffi, lib

    context, parse, verify = (
        lib.secp256k1_context_static,
        lib.secp256k1_xonly_pubkey_parse,
        lib.secp256k1_schnorrsig_verify,
    )
    keys: dict[bytes, object] = {}

    def parsed(name: bytes) -> object:
        """None where it is not the x coordinate of a point on the curve."""
        key = ffi.new("secp256k1_xonly_pubkey *")
        if not parse(context, key, name):
            return None
        if len(keys) == MAX_KEYS:
            keys.clear()
        keys[name] = key
        return key

    def answer(batch: bytes) -> bytes:
        verdicts = bytearray()
        start = ffi.from_buffer("unsigned char[]", batch)
        for at in range(0, len(batch), RECORD):
            name = batch[at : at + KEY]
            key = keys.get(name) or parsed(name)
            signature = start + (at + KEY)
            verdicts.append(
                key is not None and verify(context, signature, signature + SIGNATURE, DIGEST, key)
            )
        return bytes(verdicts)

    return answer


def main(connection: int, folders: Sequence[str]) -> int:
    for number in (SIGINT, SIGTERM, SIGHUP):
        signal(number, SIG_IGN)  # the parent ends this process, when its work is done
    answer = answering(folders)

    def receive(size: int) -> bytes:
        return read(connection, size)

    try:
        write(connection, b"\1")
        while True:
            left = answer(received(receive, RECORD * int.from_bytes(received(receive, COUNT), "big")))
            while left:
                left = left[write(connection, left) :]
    except (EOFError, ConnectionError):
        return 0


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]), sys.argv[2:]))
