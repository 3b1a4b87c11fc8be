"""How fast blocks come from Helia and go to it over libp2p, beside hashing and storing them alone.

The store on this side is the real one, on the disk of the temporary folder; Helia keeps its blocks in memory.
Three rounds, the best of which counts.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
import time
from pathlib import Path

from bench.figures import Figure, ratio
from meshconsole.content.libp2p.multiaddr import Multiaddr
from meshconsole.content.libp2p.noise import MAX_PLAIN_BYTES, Cipher
from tests.content.libp2p.sites import Site, site
from tests.interop.clients import HERE, Outsider
from tests.interop.helia_node import NODE_22, helia

FILE_BYTES = 100_000_000
ROUNDS = 3


def measure() -> list[Figure]:
    figures = [_cipher()]
    if NODE_22.is_file() and (HERE / "node_modules/helia").is_dir():
        return [*figures, *asyncio.run(_with_helia())]
    return [*figures, Figure("from Helia", 0.0, "MB/s", "not installed: npm ci --prefix tests/interop/js")]


def _cipher() -> Figure:
    """One direction of Noise: what one core seals and opens in a second."""
    seal, unseal = Cipher(bytes(32)), Cipher(bytes(32))
    data = bytes(MAX_PLAIN_BYTES)
    began, count = time.perf_counter(), 2000
    for _ in range(count):
        unseal.open(seal.seal(data))
    return Figure("Noise: seal and open", count * len(data) / 1e6 / (time.perf_counter() - began), "MB/s")


async def _with_helia() -> list[Figure]:
    came, went, stored = [], [], []
    with tempfile.TemporaryDirectory(prefix="meshconsole-bench-") as folder:
        async with site(Path(folder, "here"), "here") as here, helia() as there:
            who = await there.do("who")
            await here.party.host.dial(Multiaddr.parse(who["addresses"][0]))
            await here.party.until(1)
            for _ in range(ROUNDS):
                came.append(await _from_helia(here, there))
                rate, own = await _to_helia(here, there)
                went.append(rate)
                stored.append(own)
    return [
        Figure("hash and store alone", max(stored), "MB/s", f"{FILE_BYTES / 1e6:.0f} MB"),
        Figure("from Helia: fetch, check, store", max(came), "MB/s", "at least 60"),
        ratio("from Helia, to hash and store alone", max(came), max(stored), ""),
        Figure("to Helia", max(went), "MB/s"),
    ]


async def _from_helia(here: Site, there: Outsider) -> float:
    added = await there.do("add", size=FILE_BYTES)
    began = time.perf_counter()
    await here.bring(added["cid"])
    seconds = time.perf_counter() - began
    if await here.digest(added["cid"]) != added["sha256"]:
        raise SystemExit("The file from Helia differs.")
    await here.content.drop(added["cid"])
    return FILE_BYTES / 1e6 / seconds


async def _to_helia(here: Site, there: Outsider) -> tuple[float, float]:
    data = os.urandom(FILE_BYTES)
    began = time.perf_counter()
    added = await here.content.add([data], "file")
    own_s = time.perf_counter() - began
    got = await there.do("get", cid=str(added.cid))
    if got["sha256"] != hashlib.sha256(data).hexdigest():
        raise SystemExit("The file at Helia differs.")
    await here.content.drop(str(added.cid))
    return FILE_BYTES / 1e6 / got["seconds"], FILE_BYTES / 1e6 / own_s
