"""A real Chromium without a window, told what to do over its own protocol (CDP)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # as root there is none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--no-first-run",
    "--no-proxy-server",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
)
needs_chromium = [
    pytest.mark.interop,
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="Chromium is not installed; get it with: apt install chromium"
    ),
]


class Tab:
    """One page. `complaints` are errors of its scripts, and loads that its policy forbade."""

    def __init__(self, connection: ClientConnection, session: str) -> None:
        self._connection = connection
        self._session = session
        self._number = 0
        self.complaints: list[str] = []

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters, "sessionId": self._session}
        await self._connection.send(json.dumps(message))
        while True:
            said = json.loads(await self._connection.recv())
            if said.get("method") == "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(said["params"]["exceptionDetails"]))
            elif said.get("method") == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
                self.complaints.append(said["params"]["entry"]["text"])
            if said.get("id") == number and said.get("sessionId") == self._session:
                assert "error" not in said, said
                result: dict[str, Any] = said["result"]
                return result

    async def run(self, script: str) -> Any:  # noqa: ANN401 - any JSON
        """The value of an expression in the page, awaited if it is a promise."""
        result = await self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, condition: str) -> Any:  # noqa: ANN401 - any JSON
        """The first true value of an expression that is asked again and again inside the page."""
        return await self.run(
            "new Promise((resolve) => {"
            f"  const look = () => ({condition});"
            "  const again = () => { const it = look(); it ? resolve(it) : setTimeout(again, 10); };"
            "  again();"
            "})"
        )

    async def go(self, url: str) -> None:
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'")


@asynccontextmanager
async def chromium(profile: Path, *flags: str) -> AsyncIterator[Tab]:
    """A tab of a browser with a profile of its own."""
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *FLAGS,
        *flags,
        f"--user-data-dir={profile}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(30):
            url = ""
            while not url:
                line = (await process.stderr.readline()).decode()
                assert line, "Chromium ended before it listened"
                url = line.partition("DevTools listening on ")[2].strip()
        draining = asyncio.create_task(_drain(process.stderr))
        async with connect(url, max_size=None, compression=None, proxy=None) as connection:
            yield await _tab(connection)
        draining.cancel()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _tab(connection: ClientConnection) -> Tab:
    await connection.send(
        json.dumps({"id": 0, "method": "Target.createTarget", "params": {"url": "about:blank"}})
    )
    target = await _answer(connection, 0)
    message = {"targetId": target["targetId"], "flatten": True}
    await connection.send(json.dumps({"id": -1, "method": "Target.attachToTarget", "params": message}))
    session = (await _answer(connection, -1))["sessionId"]
    tab = Tab(connection, session)
    for domain in ("Page", "Runtime", "Log"):
        await tab.call(f"{domain}.enable")
    return tab


async def _answer(connection: ClientConnection, number: int) -> dict[str, Any]:
    while True:
        said = json.loads(await connection.recv())
        if said.get("id") == number:
            result: dict[str, Any] = said["result"]
            return result


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.readline():
        pass
