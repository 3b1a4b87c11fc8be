"""`meshconsole web` in a real browser: the page comes up by its own rules, keys arrive, and it ends."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from meshconsole.console.web.server import opened
from tests.interop.chromium import chromium, needs_chromium

if TYPE_CHECKING:
    from pathlib import Path

    from tests.interop.chromium import Tab

pytestmark = needs_chromium

PROGRAM = (sys.executable, "-m", "tests.console.on_a_terminal", "busy", '{"in_browser": true}')
ENTER = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}


async def arrived(tab: Tab, place: str) -> None:
    """The first page goes on to the second by itself, and the console has drawn there."""
    drawn = "document.body?.classList.contains('-first-byte') && location.pathname + location.search"
    while True:
        try:
            if await tab.run(drawn) == place:
                return
        except AssertionError:  # between two pages there is none to ask
            continue


async def test_a_console_in_a_browser(tmp_path: Path) -> None:
    async with opened(PROGRAM, port=0) as gate, chromium(tmp_path) as tab:
        address = gate.address
        await tab.call("Page.navigate", url=address)
        await arrived(tab, gate.path)
        assert await tab.run("document.cookie") == ""
        await tab.until("document.activeElement.className === 'xterm-helper-textarea'")
        assert await tab.run("getComputedStyle(document.querySelector('#ended')).display") == "none"
        assert tab.complaints == []
        # The question at the end, answered with Enter: the node goes on.
        await tab.call("Input.dispatchKeyEvent", type="char", text="q")
        await tab.call("Input.dispatchKeyEvent", type="keyDown", **ENTER)
        await tab.until("document.body.classList.contains('-closed')")
        assert await tab.run("getComputedStyle(document.querySelector('#ended')).display") == "block"
        await tab.go(address)
        assert "It works once" in await tab.run("document.body.innerText")
