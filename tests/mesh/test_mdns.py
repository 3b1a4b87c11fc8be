"""mDNS for real: announced and found on this machine, if it can do multicast at all."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from meshconsole.mesh.discovery.advertisement import RELAY_SERVICE, SERVICE, Advertisement
from meshconsole.mesh.discovery.mdns import MAX_SEEN, MdnsRung
from tests.mesh.nodes import SmallRoster, TestNode

if TYPE_CHECKING:
    from pathlib import Path


def can_multicast() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(1.0)
        try:
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            receiver.bind(("", 5353))
            group = socket.inet_aton("224.0.0.251") + socket.inet_aton("127.0.0.1")
            receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        except OSError:
            return False
    return True


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_multicast(), reason="this machine does not let anybody join 224.0.0.251"),
]


def rung(port: int, found: list[Advertisement], lost: list[Advertisement]) -> MdnsRung:
    return MdnsRung(
        tag=lambda instance_id: instance_id.hex()[::-1],
        listen=lambda: (f"127.0.0.1:{port}",),
        found=found.append,
        lost=lost.append,
    )


async def until(condition: object, within_s: float = 15.0) -> None:
    assert callable(condition)
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - a foreign library calls back
            await asyncio.sleep(0.02)


async def test_two_nodes_find_each_other_and_hear_the_goodbye() -> None:
    found_a: list[Advertisement] = []
    found_b: list[Advertisement] = []
    lost_a: list[Advertisement] = []
    a, b = rung(7001, found_a, lost_a), rung(7002, found_b, [])
    tasks = [asyncio.create_task(a.run()), asyncio.create_task(b.run())]
    mine_a, mine_b = ("127.0.0.1:7001",), ("127.0.0.1:7002",)
    await until(lambda: any(seen.addresses == mine_b for seen in found_a))
    await until(lambda: any(seen.addresses == mine_a for seen in found_b))
    seen = next(seen for seen in found_a if seen.addresses == mine_b)
    assert seen.tag == seen.id[::-1]
    assert not any(seen.addresses == mine_a for seen in found_a), "nobody finds itself"
    tasks[1].cancel()
    await asyncio.wait([tasks[1]])
    await until(lambda: any(gone.addresses == mine_b for gone in lost_a))
    tasks[0].cancel()
    await asyncio.wait([tasks[0]])


async def test_strangers_are_told_of_the_relay_while_that_is_allowed() -> None:
    from zeroconf import ServiceStateChange
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

    public, heard = False, set[str]()

    def changed(*, zeroconf: object, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        del zeroconf, service_type
        if state_change is ServiceStateChange.Added:
            heard.add(name)
        elif state_change is ServiceStateChange.Removed:
            heard.discard(name)

    node = MdnsRung(
        tag=lambda _: "",
        listen=lambda: ("127.0.0.1:7005",),
        is_public=lambda: public,
        found=lambda _: None,
        lost=lambda _: None,
    )
    task = asyncio.create_task(node.run())
    stranger = AsyncZeroconf()
    browser = AsyncServiceBrowser(stranger.zeroconf, RELAY_SERVICE, handlers=[changed])
    await until(lambda: node.line == "announcing and listening")
    assert not heard
    public = True
    node.refresh()
    await until(lambda: len(heard) == 1)
    await until(lambda: "strangers are told" in node.line)
    public = False
    node.refresh()
    await until(lambda: not heard)
    await until(lambda: "strangers" not in node.line)
    await browser.async_cancel()
    await stranger.async_close()
    task.cancel()
    await asyncio.wait([task])


async def test_what_goes_wrong_becomes_a_line_and_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    import zeroconf.asyncio

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(zeroconf.asyncio, "AsyncZeroconf", forbidden)
    a = rung(7003, [], [])
    task = asyncio.create_task(a.run())
    await until(lambda: "does not work here: operation not permitted" in a.line)
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])


async def test_nodes_of_one_team_find_and_link_without_being_told(tmp_path: Path) -> None:
    roster = SmallRoster.of("alice", "bob")
    alice = TestNode("alice", roster, tmp_path, mdns=True)
    async with alice, TestNode("bob", roster, tmp_path, mdns=True) as bob:
        await alice.until_linked(bob)
        await bob.until_linked(alice)
        sent = await alice.publish("found you")
        await bob.until_has(sent)
        await alice.until(lambda: any("1 of this team" in line for line in alice.mesh.discovery_lines()))


def test_the_mesh_and_its_mdns_add_little_to_a_node(tmp_path: Path) -> None:
    """What a relay alone takes is not this room's to say; a node's whole is measured end to end."""
    code = """
import asyncio, pathlib, sys
import meshconsole.relay.server, meshconsole.relay.sqlite, meshconsole.crypto.tls, sqlite_utils
def rss(): return int(open("/proc/self/statm").read().split()[1]) * 4096
async def main(folder):
    from tests.mesh.nodes import SmallRoster, TestNode
    async with TestNode("alice", SmallRoster.of("alice", "bob"), folder) as plain:
        before = rss()
    async with TestNode("alice", SmallRoster.of("alice", "bob"), folder, mdns=True) as alice:
        async with asyncio.timeout(20):
            while not any("announcing" in line for line in alice.mesh.discovery_lines()):
                await asyncio.sleep(0.05)
        print(rss() - before)
asyncio.run(main(pathlib.Path(sys.argv[1])))
"""
    arguments = [sys.executable, "-c", code, str(tmp_path)]
    out = subprocess.run(arguments, check=True, capture_output=True, timeout=60, text=True)
    assert int(out.stdout) <= 8_000_000


async def test_ten_thousand_records_are_bounded_and_do_not_hide_a_teammate() -> None:
    found: list[Advertisement] = []
    lost: list[Advertisement] = []
    listener = rung(7001, found, lost)
    for number in range(10_000):
        name = f"{number:016x}.{SERVICE}"
        listener._named(name, is_gone=False)
        listener._take(name, Advertisement(f"{number:016x}", "", (f"10.0.{number % 250}.1:1",)))
    assert listener._names.qsize() == MAX_SEEN
    assert listener.seen == len(found) == MAX_SEEN
    ours = Advertisement("0123456789abcdef", bytes.fromhex("0123456789abcdef").hex()[::-1], ("10.0.0.9:1",))
    listener._take(f"0123456789abcdef.{SERVICE}", ours)
    assert found[-1] == ours
    assert (listener.seen, len(lost)) == (MAX_SEEN, 1)
