"""The console on a scripted node, behind a real control socket, without a terminal."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from textual import events

from meshconsole.console.app import Console
from meshconsole.console.profile import Colour, GlyphSet, Profile
from meshconsole.console.shell import Shell
from meshconsole.control.server import ControlServer
from tests.console.field import NOW
from tests.console.scripted import ScriptedNode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from textual.pilot import Pilot

    from meshconsole.console.keymap import Keymap

TURNS = 3000
CHARACTERS = {
    "space": " ",
    "slash": "/",
    "full_stop": ".",
    "minus": "-",
    "exclamation_mark": "!",
    "colon": ":",
    "question_mark": "?",
}


AppType = TypeVar("AppType", bound=Shell)


@dataclass(slots=True)
class Play(Generic[AppType]):
    """A program of ours that runs without a terminal, and the hands on its keys."""

    app: AppType
    pilot: Pilot[None]

    @property
    def picture(self) -> str:
        """What is on the screen, as text. Textual has no public way to ask for it."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text.rstrip() for strip in strips) + "\n"

    async def press(self, *keys: str) -> None:
        """All keys at once, as they come over a slow line; the console takes them one after the other."""
        driver = self.app._driver
        assert driver is not None
        for key in keys:
            event = events.Key(key, CHARACTERS.get(key) or (key if len(key) == 1 else None))
            event.set_sender(self.app)
            driver.send_message(event)
        await self.pilot.pause(0)
        for _ in range(TURNS):
            if self.app.keys.idle or self.app.return_code is not None:
                break
            await self.pilot.pause(0)
        await self.settle()

    async def type(self, text: str) -> None:
        names = {character: name for name, character in CHARACTERS.items()}
        await self.press(*(names.get(character, character) for character in text))

    async def settle(self) -> None:
        """Every message that was sent has been handled, and those sent by its handlers."""
        for _ in range(2):
            await self.pilot.pause(0)

    async def until(self, happened: Callable[[], object]) -> None:
        """Lets the loop turn until it has happened; counts turns, not time."""
        for _ in range(TURNS):
            assert not self.app.return_code, "the console crashed"
            if happened():
                await self.settle()
                return
            await self.pilot.pause(0.001)
        raise AssertionError(f"did not happen; the screen:\n{self.picture}")

    async def until_shown(self, text: str) -> None:
        await self.until(lambda: text in self.picture)


@dataclass(slots=True)
class Stage(Play[Console]):
    """The console, and the scripted node behind its socket."""

    node: ScriptedNode
    server: ControlServer

    @property
    def notice(self) -> str:
        return self.app.desk.notice_line.words

    async def resize(self, width: int, height: int) -> None:
        await self.pilot.resize_terminal(width, height)
        await self.until(lambda: self.app.desk.size == (width, height))


@asynccontextmanager
async def stage(
    width: int = 80,
    height: int = 24,
    *,
    node: ScriptedNode | None = None,
    glyphs: GlyphSet = "unicode",
    colour: Colour = "true",
    read_only: bool = False,
    no_paths: str = "",
    keymap: Keymap | None = None,
    attached: bool = True,
    lock_after_s: float = 0.0,
    idle_clock: Callable[[], float] = lambda: 0.0,
) -> AsyncIterator[Stage]:
    node = node or ScriptedNode()
    with tempfile.TemporaryDirectory() as folder:
        server = ControlServer(Path(folder) / "control.sock", node, asyncio.get_running_loop().time)
        node.server = server
        await server.start()
        app = Console(
            server.path,
            Profile(colour, glyphs, mouse=False, fps=10.0),
            theme="field-dark",
            read_only=read_only,
            no_paths=no_paths,
            keymap=keymap,
            clock=lambda: NOW,
            lock_after_s=lock_after_s,
            idle_clock=idle_clock,
        )
        try:
            async with app.run_test(size=(width, height)) as pilot:
                playing = Stage(app, pilot, node, server)
                if attached:
                    await playing.until(lambda: app.desk.model.link == "attached")
                yield playing
        finally:
            await server.stop()


def sent(play: Stage, command: type) -> list[object]:
    return [one for one in play.node.commands if isinstance(one, command)]


async def command(play: Stage, words: str) -> None:
    await play.press("colon")
    await play.type(words)
    await play.press("enter")


def where(play: Stage) -> tuple[str, str | None]:
    """The current pane and the one that is shown alone."""
    return play.app.desk.current, play.app.desk.single
