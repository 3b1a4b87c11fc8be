"""Pictures of the console in docs/pictures: runs it against a scripted team and draws what it shows.

    python -m scripts.pictures                                    all of them
    python -m scripts.pictures --out FILE.png [--size 80x24] [--theme NAME] [--keys 5 ...]

Every pane and every theme is an SVG; the two for the README are PNG, and need the font DejaVu Sans Mono.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from meshconsole.console.actions import PANES
from meshconsole.console.app import Console
from meshconsole.console.profile import Profile
from meshconsole.control.server import ControlServer
from scripts import svg
from tests.console.field import NOW, some_traffic
from tests.console.scripted import ScriptedNode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from textual.pilot import Pilot

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
FONT_FOLDERS = (Path("/usr/share/fonts/truetype/dejavu"), Path("/usr/share/fonts/TTF"))
THEME = "field-dark"
SMALL = (80, 24)
README = {"console-80x24.png": SMALL, "console-160x48.png": (160, 48)}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="80x24")
    parser.add_argument("--theme", default=THEME)
    parser.add_argument("--keys", nargs="*", default=[])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    os.environ["TZ"] = "UTC"
    time.tzset()
    if arguments.out is not None:
        width, height = map(int, arguments.size.split("x"))
        drawn = asyncio.run(one(width, height, arguments.theme, tuple(arguments.keys)))
        arguments.out.write_bytes(_png(drawn) if arguments.out.suffix == ".png" else drawn.encode())
        return 0
    for name, drawn in asyncio.run(panes_and_themes()).items():
        _write(PICTURES / name, drawn.encode())
    if not any(folder.is_dir() for folder in FONT_FOLDERS):
        print("No PNG: the font DejaVu Sans Mono is missing (Debian: apt-get install fonts-dejavu-core).")
        return 0
    for name, (width, height) in README.items():
        _write(PICTURES / name, _png(asyncio.run(one(width, height, THEME))))
    return 0


async def one(width: int, height: int, theme: str, keys: tuple[str, ...] = ()) -> str:
    """One screen, after `keys`."""
    async with _console(width, height, theme) as (app, pilot):
        await pilot.press("1", *keys)
        await pilot.pause()
        return _drawn(app, f"meshconsole, {width}x{height}")


async def panes_and_themes() -> dict[str, str]:
    """File names and SVGs."""
    pictures = {}
    async with _console(*SMALL, THEME) as (app, pilot):
        for name in app.themes:
            app.use_theme(name)
            await pilot.pause()
            pictures[f"theme-{name}.svg"] = _drawn(app, f"The theme {name}")
        app.use_theme(THEME)
        for number, pane in enumerate(PANES, 1):
            await pilot.press(str(number))
            await _filled(app, pilot)
            app.desk.go_to(pane, zoom=True)
            await pilot.pause()
            pictures[f"pane-{pane}.svg"] = _drawn(app, f"The pane {pane}")
    return pictures


async def _filled(app: Console, pilot: Pilot[None]) -> None:
    """What a pane asks for when it is opened has come."""
    desk = app.desk
    while (desk.current == "audit" and not len(desk.audit.listing)) or (
        desk.current == "team" and not desk.team.invites
    ):
        await pilot.pause(0.01)


@asynccontextmanager
async def _console(width: int, height: int, theme: str) -> AsyncIterator[tuple[Console, Pilot[None]]]:
    with tempfile.TemporaryDirectory() as folder:
        node = ScriptedNode()
        server = ControlServer(Path(folder) / "control.sock", node, asyncio.get_running_loop().time)
        node.server = server
        await server.start()
        profile = Profile("true", "unicode", mouse=False, fps=4.0)
        app = Console(server.path, profile, theme=theme, clock=lambda: NOW)
        async with app.run_test(size=(width, height)) as pilot:
            while app.desk.model.link != "attached":
                await pilot.pause(0.02)
            for status in some_traffic(node.status_now):
                app.desk.model.take_status(status, NOW)
            app.desk.refresh_all()
            yield app, pilot
        await server.stop()


def _drawn(app: Console, title: str) -> str:
    strips = app.screen._compositor.render_strips()
    background = app.themes[app.theme.removeprefix("mc-")].colours["background"]
    return svg.draw(strips, app.size.width, background, title=title)


def _png(drawn: str) -> bytes:
    import resvg_py

    folders = [str(folder) for folder in FONT_FOLDERS if folder.is_dir()]
    return bytes(resvg_py.svg_to_bytes(svg_string=drawn, font_dirs=folders, skip_system_fonts=True))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    print(f"{path.relative_to(ROOT)}: {len(data)} bytes")


if __name__ == "__main__":
    sys.exit(main())
