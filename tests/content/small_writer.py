"""`python -m tests.content.small_writer DATABASE START`: puts small blocks; says how many are synced.
Every third one is removed again."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

from meshconsole.content.formats.block import Block
from meshconsole.content.formats.cid import RAW
from meshconsole.content.store.smallblocks import SmallBlocks
from tests.content.conftest import KEY

TOGETHER = 7


def block(number: int) -> Block:
    return Block.of(RAW, b"%d " % number * (number % 300 + 1))


def is_kept(number: int) -> bool:
    return number % 3 != 0


def main() -> None:
    store = SmallBlocks(Path(sys.argv[1]), KEY)
    store.open()
    for start in count(int(sys.argv[2]), TOGETHER):
        for number in range(start, start + TOGETHER):
            store.put(block(number))
        for number in range(start - TOGETHER, start):
            if not is_kept(number):
                store.remove(block(number).cid.multihash)
        store.sync()
        print(start + TOGETHER, flush=True)


if __name__ == "__main__":
    main()
