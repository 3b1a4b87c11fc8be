"""How fast a file is sealed and added on one node, and fetched and opened on the other."""

from __future__ import annotations

import hashlib
import os
import time
from typing import TYPE_CHECKING

from bench.figures import Figure, ratio
from bench.nodes import OPEN, a_pair
from meshconsole.control.blocking import call, stream
from meshconsole.control.files import BlobsData, ListBlobs
from meshconsole.control.messages import BlobsPush, Subscribe

if TYPE_CHECKING:
    from pathlib import Path

FILE_BYTES = 100_000_000


def measure() -> list[Figure]:
    with a_pair(*OPEN, "limits.max_storage_mb=1000") as (alpha, bravo):
        file = alpha.home.parent / "file.bin"
        data = os.urandom(FILE_BYTES)
        file.write_bytes(data)
        hashed_s = _hash_s(data)
        began = time.perf_counter()
        cid = alpha.json("blobs", "add", str(file))[0]["cid"]
        added_s = time.perf_counter() - began
        _until_known(bravo.home / "control.sock", cid)
        began = time.perf_counter()
        bravo.command("blobs", "get", cid, "-o", str(file.with_suffix(".copy")))
        fetched_s = time.perf_counter() - began
        if file.with_suffix(".copy").read_bytes() != data:
            raise SystemExit("The copy differs.")
    megabytes = FILE_BYTES / 1e6
    return [
        Figure("add: seal, hash, store", megabytes / added_s, "MB/s", f"{megabytes:.0f} MB"),
        Figure("get: fetch over a link, check, open", megabytes / fetched_s, "MB/s"),
        Figure("SHA-256, one thread", megabytes / hashed_s, "MB/s"),
        ratio("add, to bare SHA-256", hashed_s, added_s, "hashing alone is 1"),
        ratio("get, to bare SHA-256", hashed_s, fetched_s, "hashing alone is 1"),
    ]


def _hash_s(data: bytes) -> float:
    began = time.perf_counter()
    hashlib.sha256(data).digest()
    return time.perf_counter() - began


def _until_known(socket_path: Path, cid: str) -> None:
    """Pushes tell of changes only, so the list is looked at once they flow."""
    pushes = stream(socket_path, Subscribe(fps=10, events=False, blobs=True))
    next(pushes)
    data = call(socket_path, ListBlobs()).or_raise().data
    if isinstance(data, BlobsData) and any(blob.cid == cid for blob in data.blobs):
        return
    for push in pushes:
        if isinstance(push, BlobsPush) and any(blob.cid == cid for blob in push.blobs):
            return
