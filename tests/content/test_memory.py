"""Memory while a large file is added and read, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import asyncio, resource, sys
from pathlib import Path
from meshconsole.content.service import Content

class Unlimited:
    def reserve(self, count): pass
    def release(self, count): pass

def pieces(mib):
    for i in range(mib):
        yield i.to_bytes(4, "big") * (1 << 18)

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000

async def main():
    content = Content(Path(sys.argv[1]), bytes(32), quota=Unlimited(), emit=print, clock=lambda: 1.0)
    await content.start()
    await content.add([b"warm"], "warm")
    before = peak_mb()
    added = await content.add(pieces(int(sys.argv[2])), "large")
    size = 0
    async for piece in content.read(added.cid):
        size += len(piece)
    assert size == added.size
    await content.stop()
    print(peak_mb() - before)

asyncio.run(main())
"""


@pytest.mark.slow
def test_adding_and_reading_takes_little_memory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "blobs"), "512"],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert float(done.stdout) < 30
