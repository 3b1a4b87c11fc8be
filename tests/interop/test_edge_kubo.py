"""The HTTP edge against Kubo: `ipfs pin remote` has this node keep files; Kubo takes in what it serves."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from typing import TYPE_CHECKING

from meshconsole.content.formats.cid import RAW, Cid
from meshconsole.core.sections import EdgeSection, LimitsSection
from meshconsole.core.verdict import ACCEPTED
from meshconsole.edge.edge import Edge, Part, below
from meshconsole.edge.gateway import Gateway, Settings
from meshconsole.edge.server import EdgeServer
from tests.edge.test_pinning import service_at
from tests.interop.kubo_node import Kubo, needs_kubo

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_kubo

DATA = bytes(range(256)) * 10_000


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        body: bytes = answer.read()
        return body


async def test_kubo_pins_here_and_reads_from_the_gateway(tmp_path: Path) -> None:
    kubo = await asyncio.to_thread(Kubo, tmp_path / "kubo")

    async def ipfs(*arguments: str, data: bytes | None = None) -> str:
        return await asyncio.to_thread(kubo.say, *arguments, data=data)

    async def pins(status: str) -> list[tuple[str, str]]:
        said = await ipfs("pin", "remote", "ls", "--service=mesh", f"--status={status}", "--enc=json")
        return [(pin["Name"], pin["Cid"]) for pin in map(json.loads, said.splitlines())]

    async with service_at(tmp_path) as service:
        edge = Edge(EdgeSection)
        edge.add(Part("pinning", "", below("/pins"), service.pinning.handle, asks=True))
        edge.add(Part("gateway", "", below("/ipfs"), Gateway(service.content, Settings).handle))
        server = EdgeServer(
            edge.handle, host="127.0.0.1", port=0, limits=LimitsSection, admit=lambda remote: ACCEPTED
        )
        await server.start()
        try:
            url = f"http://{server.address}"
            token = service.tokens["ridge"]
            await ipfs("pin", "remote", "service", "add", "mesh", url, token)
            added = await service.content.add([DATA], "", pinned=False)
            said = await ipfs("pin", "remote", "add", "--service=mesh", "--name=map", added.cid)
            assert "pinned" in said
            assert service.content.is_pinned(added.cid, "pinning/ridge")
            away = str(Cid.of(RAW, b"nobody has this"))
            await ipfs("pin", "remote", "add", "--service=mesh", "--name=away", "--background", away)
            assert await pins("pinned") == [("map", added.cid)]
            assert await pins("queued,pinning") == [("away", away)]
            car = await asyncio.to_thread(fetch, f"{url}/ipfs/{added.cid}?format=car")
            await ipfs("dag", "import", data=car)
            assert await asyncio.to_thread(kubo.run, "cat", added.cid) == DATA
            await ipfs("pin", "remote", "rm", "--service=mesh", "--name=map")
            await ipfs("pin", "remote", "rm", "--service=mesh", "--name=away", "--status=queued,pinning")
            assert await pins("queued,pinning,pinned,failed") == []
            assert not service.content.is_pinned(added.cid)
        finally:
            await server.stop()
