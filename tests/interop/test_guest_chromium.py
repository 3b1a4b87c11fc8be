"""A guest in a real browser: the node's own page in Chromium, let in from the command line."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from scripts.machine import Machine
from tests.interop.chromium import Tab, chromium, needs_chromium
from tests.mesh.guests.visitor import Place, opened, place
from tests.relay.making import signed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.homes import Homes

pytestmark = needs_chromium

STATE = "document.getElementById('state').textContent"
NOTES = (
    "[...document.querySelectorAll('#notes li')]"
    ".map((row) => [...row.children].map((part) => part.textContent).join(': '))"
)
HERE = f"{STATE}.startsWith('You are here as') && {STATE}"


def asks_as(name: str) -> str:
    return f"document.getElementById('name').value = {json.dumps(name)}; {click('#asking')}"


def writes(text: str) -> str:
    return f"document.getElementById('text').value = {json.dumps(text)}; {click('#writing')}"


def click(form: str) -> str:
    return f"document.querySelector('{form} button').click()"


async def code_on(tab: Tab) -> str:
    return str(await tab.until("document.getElementById('code').textContent"))


async def let_in(here: Place, tab: Tab, link: str, name: str) -> None:
    await tab.go(link)
    await tab.run(asks_as(name))
    await here.guests.admit(await code_on(tab), "", None)
    await tab.until(HERE)


@pytest.fixture
def alpha(tmp_path: Path, init: Homes) -> Iterator[Machine]:
    node = Machine(tmp_path, "alpha", None)
    init(node, "--team", "Falcon")
    node.start()
    yield node
    node.kill()


@pytest.mark.e2e
async def test_a_browser_is_let_in_by_the_owner_and_speaks_with_the_node(
    alpha: Machine, tmp_path: Path
) -> None:
    async def do(*arguments: str) -> Any:  # noqa: ANN401 - any JSON
        return await asyncio.to_thread(alpha.json, *arguments)

    async with chromium(tmp_path / "profile") as tab, asyncio.timeout(60):
        link = await do("guest", "open")
        await tab.go(link["url"])
        assert await tab.run("location.hash") == "", "the token does not stay in the address"
        await tab.run(asks_as("Anna"))
        code = await code_on(tab)
        (waiting,) = await do("guest")
        assert (waiting["state"], waiting["code"], waiting["name"]) == (
            "waiting",
            code.replace(" ", ""),
            "Anna",
        )
        await do("guest", "admit", code)
        assert (await tab.until(HERE)).startswith("You are here as Anna, until ")

        await tab.run(writes("hello é 漢 \U0001f600"))
        await do("guest", "say", "welcome")
        await tab.until(f"{NOTES}.length === 2")
        assert await tab.run(NOTES) == ["Anna: hello é 漢 \U0001f600", "alpha: welcome"]
        (note,) = [event for event in await do("events") if event["author"] == "guest Anna"]
        assert (note["text"], note["verdict"], note["words"]) == (
            "hello é 漢 \U0001f600",
            "stored",
            "guest's note",
        )

        await asyncio.to_thread(alpha.command, "guest", "remove", "Anna")
        await tab.until(f"{STATE}.includes('The owner has ended your visit.')")
        assert not tab.complaints
        acts = (await asyncio.to_thread(alpha.command, "audit")).stdout
        assert [act for act in ("guest-link", "guest-admitted", "guest-removed") if act in acts] == [
            "guest-link",
            "guest-admitted",
            "guest-removed",
        ]


async def test_what_happens_to_a_browser(tmp_path: Path) -> None:
    """Refused; then let in, reloaded, flooded with long notes, writing many, and sent away for garbage."""
    async with chromium(tmp_path / "profile") as tab, place() as here, asyncio.timeout(90):
        await tab.go(await opened(here))
        await tab.run(asks_as("Anna"))
        here.guests.refuse(await code_on(tab))
        await tab.until(f"{STATE} === 'The owner of this node said no.'")

        await let_in_again(here, tab)
        room = (("h", "guests"), ("name", "<b>a</b>"))
        for content in ("x" * 100_000, "<img src=x onerror=alert(1)><script>alert(2)</script>"):
            await here.relay.publish(signed("team", tags=room, content=content))
        await tab.until(f"{NOTES}.some((note) => note.length > 100000)")
        await tab.until(f"{NOTES}.some((note) => note.includes('<b>a</b>: <img src=x'))")
        assert await tab.run("document.querySelectorAll('#notes img, #notes script, #notes b').length") == 0

        await tab.call("Page.reload")
        await tab.until(f"document.readyState === 'complete' && {HERE}")
        await tab.until(f"{NOTES}.length === 2")

        await tab.run(
            "window.stored = new Set();"
            "document.addEventListener('stored', ({detail}) => stored.add(detail));"
            "for (let n = 0; n < 100; n++) { "
            "document.getElementById('text').value = `note ${n}`; " + click("#writing") + " }"
        )
        await tab.until("stored.size === 100")
        assert here.guests.status()[0].events == 100

        assert not tab.complaints
        await here.guests.remove("Anna")
        await tab.until(f"{STATE} === 'The owner has ended your visit.'")


async def let_in_again(here: Place, tab: Tab) -> None:
    """The tab remembers its name, not that it was refused."""
    await tab.go("about:blank")
    await tab.go(await opened(here))
    await here.guests.admit(await code_on(tab), "", None)
    await tab.until(HERE)
