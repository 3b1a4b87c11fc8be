"""Blocks exchanged with Helia and Kubo over libp2p: TCP, Noise, yamux, identify, ping, bitswap; both ways."""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from meshconsole.content.libp2p.multiaddr import Multiaddr
from scripts.machine import Machine
from tests.content.deterministic import deterministic, deterministic_bytes
from tests.content.libp2p.sites import site
from tests.interop.helia_node import helia, needs_helia
from tests.interop.kubo_node import Kubo, needs_kubo

if TYPE_CHECKING:
    from pathlib import Path

    from tests.content.libp2p.sites import Site
    from tests.homes import Homes

pytestmark = pytest.mark.slow
BIG_BYTES = 21_000_000


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def folder_of(here: Site) -> tuple[str, list[list[str]]]:
    """A folder with two files, added here, and what stands in it."""
    files = {name: deterministic_bytes(300_000, name) for name in ("a.txt", "b.bin")}
    added = await here.content.add_folder([(name, [data]) for name, data in files.items()], "folder")
    return str(added.cid), [[name, digest(data)] for name, data in files.items()]


def tcp_address_of(kubo: Kubo) -> str:
    addresses: list[str] = json.loads(kubo.say("id"))["Addresses"]
    return next(each for each in addresses if "/tcp/" in each and "/ws" not in each)


class TestHelia:
    pytestmark = needs_helia

    @pytest.mark.parametrize("keys", ["RSA", "secp256k1"])
    async def test_peers_with_other_keys(self, tmp_path: Path, keys: str) -> None:
        async with site(tmp_path / "here", "here") as here, helia(keys) as there:
            address = Multiaddr.parse((await there.do("who"))["addresses"][0])
            await here.party.host.dial(address)
            assert await here.party.host.ping(here.party.host.all()[0].peer) > 0
            added = await there.do("add", size=1000)
            assert await here.fetch(added["cid"]) == added["sha256"]

    async def test_dialled_from_here(self, tmp_path: Path) -> None:
        async with site(tmp_path / "here", "here") as here, helia() as there:
            who = await there.do("who")
            connection = await here.party.host.dial(Multiaddr.parse(who["addresses"][0]))
            await here.party.until(1)
            assert connection.identified.agent.startswith("helia/")
            assert str(connection.peer) == who["peer"]
            added = await there.do("add", size=BIG_BYTES)
            assert await here.fetch(added["cid"]) == added["sha256"]
            folder = await there.do("addFolder", names=["one", "two"], size=300_000)
            await here.bring(folder)
            entries = await here.content.list_folder(folder)
            came = [[name, await here.digest(cid)] for name, cid in entries.items()]
            assert came == await there.do("list", cid=folder)

    async def test_dialled_from_there(self, tmp_path: Path) -> None:
        async with site(tmp_path / "here", "here") as here, helia() as there:
            assert await there.do("dial", address=str(here.party.address)) == str(here.party.host.own.peer)
            assert await there.do("ping", address=str(here.party.address)) >= 0
            await here.party.until(1)
            added = await here.content.add(deterministic(BIG_BYTES, "big"), "big")
            got = await there.do("get", cid=str(added.cid))
            assert (got["size"], got["sha256"]) == (BIG_BYTES, digest(deterministic_bytes(BIG_BYTES, "big")))
            folder, entries = await folder_of(here)
            assert await there.do("list", cid=folder) == entries
            await there.do("hangUp", address=f"/p2p/{here.party.host.own.peer}")
            await here.party.until(count_gone=1)


class TestKubo:
    pytestmark = needs_kubo

    async def test_dialled_from_here(self, tmp_path: Path) -> None:
        kubo = Kubo(tmp_path / "kubo", "unixfs-v1-2025")
        folder = tmp_path / "files"
        folder.mkdir()
        (folder / "big").write_bytes(deterministic_bytes(BIG_BYTES, "big"))
        (folder / "small").write_bytes(b"small")
        async with site(tmp_path / "here", "here") as here:
            with kubo.daemon():
                connection = await here.party.host.dial(Multiaddr.parse(tcp_address_of(kubo)))
                await here.party.until(1)
                assert connection.identified.agent.startswith("kubo/")
                assert await here.party.host.ping(connection.peer) > 0
                root = kubo.say("add", "--recursive", "--quieter", folder)
                await here.bring(root)
                entries = await here.content.list_folder(root)
                assert await here.digest(entries["big"]) == digest((folder / "big").read_bytes())
                assert await here.digest(entries["small"]) == digest(b"small")

    def test_it_keeps_a_file_of_the_team(self, tmp_path: Path, init: Homes) -> None:
        """Whole: pinned there, dropped here, and brought back and opened."""
        kubo, node = Kubo(tmp_path / "kubo"), Machine(tmp_path, "alpha", None)
        file, copy = tmp_path / "file", tmp_path / "copy"
        file.write_bytes(deterministic_bytes(3_000_000, "kept"))
        init(node, "--team", "Falcon")
        with kubo.daemon(), ExitStack() as stack:
            stack.callback(node.kill)
            node.start("p2p.enable=true", "p2p.listen=127.0.0.1:0", f"p2p.peers={tcp_address_of(kubo)}")
            node.wait("Kubo", lambda status: any(peer["connected"] for peer in status["libp2p"]["peers"]))
            cid = node.json("blobs", "add", str(file))[0]["cid"]
            kubo.run("pin", "add", cid)
            node.command("blobs", "drop", cid, "--force")
            node.command("blobs", "get", cid, "-o", str(copy))
            assert copy.read_bytes() == file.read_bytes()
            assert "kubo/" in node.command("blobs", "peers").stdout

    async def test_dialled_from_there(self, tmp_path: Path) -> None:
        kubo = Kubo(tmp_path / "kubo", "unixfs-v1-2025")
        async with site(tmp_path / "here", "here") as here:
            with kubo.daemon():
                added = await here.content.add(deterministic(BIG_BYTES, "big"), "big")
                folder, entries = await folder_of(here)
                await asyncio.to_thread(kubo.run, "swarm", "connect", str(here.party.address))
                await asyncio.to_thread(kubo.run, "ping", "--count", "2", str(here.party.host.own.peer))
                got = await asyncio.to_thread(kubo.run, "cat", str(added.cid))
                assert got == deterministic_bytes(BIG_BYTES, "big")
                await asyncio.to_thread(kubo.run, "get", "--output", tmp_path / "got", folder)
                came = sorted((tmp_path / "got").iterdir())
                assert [[each.name, digest(each.read_bytes())] for each in came] == entries
