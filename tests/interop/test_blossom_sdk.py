"""Blossom against blossom-client-sdk, the library of most clients that have it, on Node.js."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from meshconsole.core.sections import LimitsSection
from meshconsole.core.verdict import ACCEPTED
from meshconsole.edge.server import EdgeServer
from tests.content.conftest import World
from tests.edge.blossom_site import blossom_site
from tests.interop.clients import client, needs
from tests.relay.making import Members, npub

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs("blossom-client-sdk")


SIZE = 5_000_000


async def test_upload_get_list_delete(tmp_path: Path) -> None:
    async with blossom_site(World(tmp_path / "blobs"), Members({npub("alice")})) as site:
        site.blossom._is_us = lambda server: server in ("127.0.0.1", "localhost")
        server = EdgeServer(
            site.blossom.handle,
            host="127.0.0.1",
            port=0,
            limits=LimitsSection,
            admit=lambda remote: ACCEPTED,
        )
        await server.start()
        url = f"http://{server.address}"
        try:
            async with client("blossom_client.mjs", url, "alice") as alice:
                site.world.clock.now = (await alice.do("now")) / 1000
                told = await alice.do("upload", size=SIZE, fill=7, type="image/png")
                sha256 = hashlib.sha256(b"\7" * SIZE).hexdigest()
                assert (told["sha256"], told["size"], told["type"]) == (sha256, SIZE, "image/png")
                assert told["url"] == f"{url}/{sha256}.png"
                assert await alice.do("has", sha256=sha256)
                got = await alice.do("download", sha256=sha256)
                assert got == {"type": "image/png", "size": SIZE, "sum": 7 * SIZE}
                second = await alice.do("upload", size=10, fill=1, type="text/plain")
                listed = await alice.do("list", npub=npub("alice"))
                assert {blob["sha256"] for blob in listed} == {sha256, second["sha256"]}
                assert await alice.do("delete", sha256=sha256)
                assert "no such blob" in (await alice.ask("download", sha256=sha256))["error"]
            async with client("blossom_client.mjs", url, "mallory") as mallory:
                refused = await mallory.ask("upload", size=10, fill=1, type="text/plain")
                assert "members only" in refused["error"]
                refused = await mallory.ask("download", sha256=second["sha256"])
                assert "members only" in refused["error"]
        finally:
            await server.stop()
