"""A team of whole nodes in one process, so that a node of its own may have many peers on a small machine.

    python -m bench.team FOLDER COUNT

prints an invite for a device of role relay, waits for a line with that device's address, admits the others
and says so, waits for another line, has every node dial the device, and ends with its input. Only the door is
left out, which lets in six of one host a minute: the nodes are admitted by their founder directly. Links,
handshakes and data channels are those of any node.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from meshconsole.control.server import ControlServer
from meshconsole.core.home import Home
from meshconsole.core.setup import FirstRun
from meshconsole.crypto import keystore
from meshconsole.crypto.passphrase import SMALL
from meshconsole.mesh import datachannels
from meshconsole.node.acts.commands import Commands
from meshconsole.node.config_file import load_config
from meshconsole.node.locked import LockedHome
from meshconsole.node.node import Node
from meshconsole.node.opening import open_keystore
from meshconsole.node.setup import create_home

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SETTINGS = ("node.listen=127.0.0.1:0", "discovery.mdns=false", "discovery.beacons=false")
"""They are told whom to dial, so that the node that is looked at hears no beacons of its own team."""
HOUR_S = 3600
datachannels.FAR_LOOK_S = HOUR_S
"""They know no addresses of each other, as they would on a network of theirs, so each would make channels to
the others by way of the node that is looked at: 190 in this one process, and all their signals in that."""


def make_homes(folder: Path, count: int) -> list[Home]:
    # They have no passphrases, and two seconds each would go into finding out what one may cost here.
    vars(keystore)["calibrate"] = lambda: SMALL
    homes = [Home(folder / f"member{number}") for number in range(count)]
    for number, home in enumerate(homes):
        first = FirstRun(home.path.name, "later" if number else "create", "" if number else "Falcon")
        create_home(home, first, None)
    return homes


@asynccontextmanager
async def running(home: Home) -> AsyncIterator[Node]:
    unlocked = open_keystore(home, None)
    assert unlocked is not None
    config = load_config(home, SETTINGS)
    control = ControlServer(home.control_socket, LockedHome(home), time.monotonic)
    node, ready = Node(home, config, unlocked, control, Commands), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(node.run(ready.set))
        await ready.wait()
        yield node
        node.request_stop("the bench is over")


async def admit(founder: Node, node: Node) -> None:
    """What a join does once the door has opened."""
    team, now = founder.membership.team, int(time.time())
    assert team is not None
    bundle = await asyncio.to_thread(node.identity.bundle_event, now)
    await founder.teamwork.act(team.admit(bundle, node.home.path.name, "member", now))
    await node.relay.publish_many(team.control_events(), via="join", own=True)
    await node.teamwork.load(team.team_id)
    await node.teamwork.changed()


async def serve(homes: list[Home]) -> None:
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(running(home)) for home in homes]
        founder = nodes[0]
        _, invite = founder.membership.invite([founder.addresses[0]], int(time.time()), HOUR_S, "relay")
        print(invite, flush=True)
        address = (await asyncio.to_thread(sys.stdin.readline)).strip()
        for node in nodes[1:]:
            await admit(founder, node)
        print("admitted", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        for node in nodes:
            assert node.mesh is not None
            node.mesh.offer_addresses([address])
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(make_homes(Path(sys.argv[1]), int(sys.argv[2]))))
