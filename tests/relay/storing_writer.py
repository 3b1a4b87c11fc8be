"""Stores batches for ever and prints the ids of each one once it is acknowledged. Gets killed, cut off, or
no more room: `python -m tests.relay.storing_writer DATABASE SEED [LARGEST FILE IN BYTES]`."""

from __future__ import annotations

import itertools
import random
import resource
import sys
from pathlib import Path

from meshconsole.relay.sqlite import SqliteEventStore
from tests.relay.making import KEY, NOW, TAG_KEY, unsigned

PATIENCE = 20
"""After so many refused batches there will be no more room."""


ALONE = 0.5
"""Of the batches: a few events that go into the journal before the tables have them."""


def main(path: Path, seed: str, largest: int | None) -> None:
    chance = random.Random(seed)
    store = SqliteEventStore(path, KEY, TAG_KEY, log_bytes=256 << 10)
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
    refused = 0
    for number in itertools.count():
        alone = chance.random() < ALONE
        batch = [
            unsigned(
                f"author {chance.randrange(9)}",
                chance.choice((1, 1, 7) if alone else (1, 1, 7, 0, 30023)),
                (("t", str(chance.randrange(50))), ("d", str(chance.randrange(5)))),
                f"{seed} {number} {n} " + "x" * chance.randrange(1500),
                NOW + number,
            )
            for n in range(chance.randrange(1, 4 if alone else 60))
        ]
        verdicts = store.add(batch)
        stored = [event for event, verdict in zip(batch, verdicts, strict=True) if verdict.accepted]
        for event in stored:
            print(event.kind, event.pubkey, event.created_at, event.id, event.tag("d"))
        print(flush=True)
        refused = 0 if stored else refused + 1
        if refused == PATIENCE:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else None)
