"""Publishes events for ever and prints the id of each one once it is acknowledged. Gets killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from meshconsole.core.sections import RelaySection
from meshconsole.relay.relay import Relay
from meshconsole.relay.sqlite import SqliteEventStore
from tests.relay.making import KEY, NOW, TAG_KEY, Public, signed


async def main(path: Path, seed: str) -> None:
    store = SqliteEventStore(path, KEY, TAG_KEY)
    relay = Relay(store, access=Public(), emit=lambda _: None, config=RelaySection())
    await relay.start()
    await asyncio.gather(*(publish_for_ever(relay, f"{seed} {number}") for number in range(8)))


async def publish_for_ever(relay: Relay, name: str) -> None:
    count = 0
    while True:
        count += 1
        event = signed(name, kind=(1, 0, 30000)[count % 3], content=str(count), created_at=NOW + count)
        verdict = await relay.publish(event)
        if not verdict.accepted:
            sys.exit(f"refused: {verdict.message}")
        print(event.kind, event.pubkey, event.created_at, event.id, flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
