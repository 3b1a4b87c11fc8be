"""Pictures of the console for the README: runs it against a scripted team and draws what it shows.

    python scripts/pictures.py [--size 80x24] [--theme NAME] [--keys 5 ...] [--out FILE]

Without arguments: docs/pictures/console-80x24.png and console-160x48.png.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from meshconsole.console.app import Console  # noqa: E402
from meshconsole.console.profile import Profile  # noqa: E402
from meshconsole.control.server import ControlServer  # noqa: E402
from tests.console.scripted import NOW, ScriptedNode, some_traffic  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.segment import Segment
    from rich.style import Style

PICTURES = ROOT / "docs" / "pictures"
FONT_FOLDERS = (Path("/usr/share/fonts/truetype/dejavu"), Path("/usr/share/fonts/TTF"))
FONT = "DejaVu Sans Mono"
FONT_SIZE = 20
# The font's advance and line height, so that lines of box characters meet.
CELL_WIDTH, CELL_HEIGHT, BASELINE = FONT_SIZE * 0.602, FONT_SIZE * 1.164, FONT_SIZE * 0.928
MARGIN = 14


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="")
    parser.add_argument("--theme", default="field-dark")
    parser.add_argument("--keys", nargs="*", default=[])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if not any(folder.is_dir() for folder in FONT_FOLDERS):
        print(
            "No pictures: the font DejaVu Sans Mono is missing (Debian: apt-get install fonts-dejavu-core)."
        )
        return 0
    os.environ["TZ"] = "UTC"
    time.tzset()
    for size in [arguments.size] if arguments.size else ["80x24", "160x48"]:
        width, height = map(int, size.split("x"))
        out = arguments.out or PICTURES / f"console-{size}.png"
        svg = asyncio.run(_picture(width, height, arguments.theme, arguments.keys))
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(_png(svg))
        print(f"{out}: {out.stat().st_size} bytes")
    return 0


async def _picture(width: int, height: int, theme: str, keys: Sequence[str]) -> str:
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
            await pilot.press("1", *keys)
            await pilot.pause()
            strips = app.screen._compositor.render_strips()
            background = app.themes[theme].colours["background"]
            svg = _svg([list(strip) for strip in strips], width, height, background)
        await server.stop()
    return svg


def _svg(lines: Sequence[Sequence[Segment]], columns: int, rows: int, background: str) -> str:
    width, height = columns * CELL_WIDTH + 2 * MARGIN, rows * CELL_HEIGHT + 2 * MARGIN
    shapes, texts = [], []
    for y, line in enumerate(lines):
        for x, cells, text, style in _runs(line):
            left, top = MARGIN + x * CELL_WIDTH, MARGIN + y * CELL_HEIGHT
            ink, paper = _colours(style)
            if paper and paper != background:
                size = f'width="{cells * CELL_WIDTH + 0.3:.2f}" height="{CELL_HEIGHT + 0.3:.2f}"'
                shapes.append(f'<rect x="{left:.2f}" y="{top:.2f}" {size} fill="{paper}"/>')
            if text.strip():
                weight = ' font-weight="bold"' if style.bold else ""
                faint = ' opacity="0.6"' if style.dim else ""
                texts.append(
                    f'<text x="{left:.2f}" y="{top + BASELINE:.2f}" fill="{ink}"{weight}{faint}'
                    f' xml:space="preserve">{escape(text)}</text>'
                )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
        f' font-family="{FONT}" font-size="{FONT_SIZE}">'
        f'<rect width="100%" height="100%" rx="10" fill="{background}"/>'
        f"{''.join(shapes)}{''.join(texts)}</svg>"
    )


def _runs(line: Sequence[Segment]) -> Iterator[tuple[int, int, str, Style]]:
    """Column, cells, text and style. A character that is not ASCII stands alone, so none can shift."""
    from rich.cells import cell_len
    from rich.style import Style

    x = 0
    for text, style, control in line:
        if control:
            continue
        for part in [text] if text.isascii() else list(text):
            cells = cell_len(part)
            yield x, cells, part, style or Style()
            x += cells


def _colours(style: Style) -> tuple[str, str]:
    ink = style.color.get_truecolor().hex if style.color else "#dddddd"
    paper = style.bgcolor.get_truecolor().hex if style.bgcolor else ""
    return (paper or "#000000", ink) if style.reverse else (ink, paper)


def _png(svg: str) -> bytes:
    import resvg_py

    folders = [str(folder) for folder in FONT_FOLDERS if folder.is_dir()]
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, font_dirs=folders, skip_system_fonts=True))


if __name__ == "__main__":
    sys.exit(main())
