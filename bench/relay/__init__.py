"""Any relay by its URL: ingest, latency, requests, live delivery, memory. `make bench ARGS="relay --help"`.

The client is one process with sockets of its own, light enough not to be what is measured, and says what
share of a core it took. Events are signed before any clock runs. Answers are compared with a reference
computed here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.figures import Figure


def measure() -> list[Figure]:
    """Our own node alone, on fewer events: a part of `make bench`."""
    from bench.figures import Figure
    from bench.relay.command import run
    from bench.relay.phases import PHASES, UNITS
    from bench.relay.servers import OwnNode

    metrics = run([OwnNode("meshconsole", "balanced")], list(PHASES), events=20_000, rounds=1)["meshconsole"][
        0
    ]
    return [Figure(name, value, UNITS.get(name, "")) for name, value in metrics.items()]
