"""A plain Nostr client that counts what a relay has acknowledged.

python -m scripts.publisher write ws://127.0.0.1:7447     prints the id of each note, once acknowledged
python -m scripts.publisher read ws://127.0.0.1:7447      takes ids from standard input: how many are there
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from itertools import count

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from meshconsole.core.event import encode_event
from meshconsole.crypto.schnorr import sign_event

AT_ONCE = 100


def main() -> int:
    mode, url = sys.argv[1:]
    if mode == "write":
        write(url)
    else:
        print(read(url, sys.stdin.read().split()))
    return 0


def write(url: str) -> None:
    """Until the relay goes."""
    key = secrets.token_bytes(32)
    with connect(url, proxy=None) as relay:
        try:
            for number in count():
                event = sign_event(key, 1, (), f"note {number}", int(time.time()))
                relay.send('["EVENT",' + encode_event(event).decode() + "]")
                answer = json.loads(relay.recv())
                if answer[:3] == ["OK", event.id, True]:
                    print(event.id, flush=True)
        except ConnectionClosed:
            return


def read(url: str, ids: list[str]) -> int:
    found = set()
    with connect(url, proxy=None) as relay:
        for begin in range(0, len(ids), AT_ONCE):
            relay.send(json.dumps(["REQ", "those", {"ids": ids[begin : begin + AT_ONCE]}]))
            while (answer := json.loads(relay.recv()))[0] == "EVENT":
                found.add(answer[2]["id"])
    return len(found & set(ids))


if __name__ == "__main__":
    sys.exit(main())
