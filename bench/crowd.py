"""A scripted node with a large team behind a control socket, for measuring consoles.

python -m bench.crowd FOLDER EVENTS_PER_S     serves FOLDER/control.sock until its input ends
python -m bench.crowd FOLDER rows             a console in this terminal, on a list of 100,000 events
"""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from meshconsole.control.server import ControlServer
from meshconsole.core.kinds import TEAM_NOTE
from tests.console.feed import an_event, busy_events
from tests.console.field import NOW, npub_of
from tests.console.scripted import ScriptedNode

if TYPE_CHECKING:
    from meshconsole.core.status import EventView, NodeStatus

PEERS = 500
ROWS = 100_000
TICKS_PER_S = 20
MIXED = 50
"""Different events that are told again and again."""


def crowd() -> ScriptedNode:
    """A node with many peers, and as many events as a console asks for."""
    node = ScriptedNode()
    some = node.status_now.peers
    peers = tuple(
        msgspec.structs.replace(some[at % len(some)], npub=npub_of(f"peer-{at}"), name=f"peer-{at:03}")
        for at in range(PEERS)
    )
    node.status_now = msgspec.structs.replace(node.status_now, peers=peers)
    node.events = (busy_events() * 10)[:500]
    return node


async def serve(path: Path, events_per_s: int) -> None:
    node = crowd()
    server = ControlServer(path, node, asyncio.get_running_loop().time)
    node.server = server
    await server.start()
    print("ready", flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    told = [
        an_event(10_000 + at, "medic", TEAM_NOTE, f"At point {at}, {'on the way ' * 4}", at=NOW)
        for at in range(MIXED)
    ]
    at = 0
    while not ended.is_set():
        try:
            async with asyncio.timeout(1 / TICKS_PER_S):
                await ended.wait()
        except TimeoutError:
            count = events_per_s // TICKS_PER_S
            server.events_happened([told[(at + step) % MIXED] for step in range(count)])
            at += count
    await server.stop()


def show_rows(path: Path) -> int:
    """The console with the longest list that it is promised to scroll in."""
    from meshconsole.console.desk import Desk
    from meshconsole.console.run import ConsoleOptions, run_console

    began = Desk.began

    def filled(desk: Desk, status: NodeStatus, events: list[EventView], blobs: object) -> None:
        began(desk, status, events, blobs)  # type: ignore[arg-type]
        desk.events.listing.capacity = ROWS
        desk.events.replace([events[at % len(events)] for at in range(ROWS)])

    Desk.began = filled  # type: ignore[method-assign, assignment]
    ready = threading.Event()

    async def run() -> None:
        node = crowd()
        server = ControlServer(path, node, asyncio.get_running_loop().time)
        await server.start()
        ready.set()
        await asyncio.Event().wait()

    threading.Thread(target=lambda: asyncio.run(run()), daemon=True).start()
    ready.wait()
    return run_console(path, options=ConsoleOptions(fps=4.0))


def main() -> int:
    folder, what = Path(sys.argv[1]), sys.argv[2]
    path = folder / "control.sock"
    if what == "rows":
        return show_rows(path)
    asyncio.run(serve(path, int(what)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
