"""Outside clients on Node.js, told what to do line by line, and a relay on an encrypted store for them."""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from meshconsole.core.sections import RelaySection
from meshconsole.relay.relay import Relay
from meshconsole.relay.server import RelayServer
from meshconsole.relay.sqlite import SqliteEventStore
from tests.relay.making import KEY, TAG_KEY, secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from meshconsole.core.event import Event
    from meshconsole.relay.policy import Access

HERE = Path(__file__).parent / "js"
NODE = shutil.which("node")


def needs(package: str) -> list[pytest.MarkDecorator]:
    missing = ""
    if NODE is None:
        missing = (
            "Node.js 20 or newer is not installed; get it from your system's packages or https://nodejs.org"
        )
    elif not (HERE / "node_modules" / package).is_dir():
        missing = f"{package} is not installed; get it with: npm ci --prefix tests/interop/js"
    return [pytest.mark.interop, pytest.mark.skipif(bool(missing), reason=missing)]


class Outsider:
    """One client process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, command: str, **arguments: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": command, **arguments}).encode() + b"\n")
        line = await self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def do(self, command: str, **arguments: object) -> Any:  # noqa: ANN401 - any JSON
        answer = await self.ask(command, **arguments)
        assert "error" not in answer, answer
        return answer["result"]

    async def publish(self, kind: int = 1, content: str = "", at: int = 1000, tags: Any = ()) -> str:  # noqa: ANN401
        template = {"kind": kind, "content": content, "created_at": at, "tags": tags}
        published = await self.do("publish", template=template)
        return str(published["id"])

    async def query(self, *filters: dict[str, object]) -> list[str]:
        return [event["content"] for event in await self.do("query", filters=filters)]


@asynccontextmanager
async def relay(folder: Path, access: Access, events: Sequence[Event] = ()) -> AsyncIterator[str]:
    store = SqliteEventStore(folder / "node.db", KEY, TAG_KEY)
    store.add(list(events))
    service = Relay(store, access=access, emit=lambda _: None, config=RelaySection())
    server = RelayServer(service, host="127.0.0.1", port=0, name="pi four")
    await service.start()
    await server.start()
    try:
        yield f"ws://{server.addresses[0]}"
    finally:
        await server.stop()
        await service.stop()
        store.close()


@asynccontextmanager
async def client(script: str, url: str, name: str, *more: str) -> AsyncIterator[Outsider]:
    process = await asyncio.create_subprocess_exec(
        NODE or "node",
        str(HERE / script),
        url,
        secret(name).hex(),
        *more,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Outsider(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
