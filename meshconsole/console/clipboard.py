"""Copying: by OSC 52 through the terminal, inside of tmux through tmux, which keeps OSC 52 to itself.

A terminal does not say whether it has taken a text, so what was done is said, and how to select it instead.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from textual.app import App

MOST_BYTES = 50_000
"""Of a copied text: terminals take 74,994 bytes of Base64 at most, xterm's limit."""
TMUX_S = 2.0

Way = Literal["osc52", "tmux", "none"]


def way(environment: Mapping[str, str]) -> Way:
    if environment.get("TMUX"):
        return "tmux"
    term = environment.get("TERM", "")
    # The Linux console has no clipboard; GNU screen swallows the sequence.
    return "none" if term == "linux" or term.startswith("screen") else "osc52"


async def copy_text(app: App[None], text: str) -> str:
    """The sentence that says what was done."""
    instead = "Y shows it, to select it by hand."
    if len(text.encode()) > MOST_BYTES:
        return f"That is too long for a clipboard. {instead}"
    chosen = way(os.environ)
    if chosen == "tmux" and await _into_tmux(text):
        return f"Copied into tmux, and from there into the terminal's clipboard: {text}"
    if chosen == "none":
        return f"This terminal has no clipboard. {instead}"
    app.copy_to_clipboard(text)
    return f"Sent to the terminal's clipboard, if it allows that ({instead[:-1]}): {text}"


async def _into_tmux(text: str) -> bool:
    try:
        tmux = await asyncio.create_subprocess_exec(
            "tmux",
            "load-buffer",
            "-w",
            "-",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return False
    try:
        async with asyncio.timeout(TMUX_S):
            await tmux.communicate(text.encode())
    except TimeoutError:
        tmux.kill()
        await tmux.wait()
    return tmux.returncode == 0
