"""The console for a browser: HTTP on loopback, and behind each page a console that attaches like any other.

The pages' terminal and the pipe to the program are textual-serve's. Its own server is not used: that one lets
everybody in, loads a font from the internet, and logs the values of local variables.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager, redirect_stdout
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import msgspec
import textual_serve
from aiohttp import WSMsgType, web
from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

from meshconsole.console.web.gate import COOKIE, Gate
from meshconsole.core.errors import Fatal

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Callable, Sequence

    from aiohttp.typedefs import Handler

HERE = Path(__file__).parent
LOOPBACK = "127.0.0.1"
MOST_CONSOLES = 4
"""At once; each is a process of some 50 MB."""
MOST_BYTES = 256 * 1024
"""In one message of a page: a long paste."""
MOST_CELLS = 500
FAREWELL_S = 3.0
KEPT_S = 30 * 86_400
"""How long a browser keeps its cookie. It ends with this server anyway."""

POLICY = {
    # The terminal in the page puts its styles in as it runs.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline';"
    " font-src 'self' data:; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
PARTS = {"page.css": "text/css", "page.js": "text/javascript"}
WELCOME = """<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>meshconsole</title>
    <link rel="icon" href="data:,">
    <meta http-equiv="refresh" content="0;url={path}">
  </head>
  <body><a href="{path}">meshconsole</a></body>
</html>
"""
NO_ENTRY = "Open the address that 'meshconsole web' has printed. It works once; start it again for another."


class Input(msgspec.Struct, frozen=True, array_like=True):
    """What a page sends: a kind and, for most kinds, something with it."""

    kind: str
    value: msgspec.Raw = msgspec.Raw(b"null")


class Size(msgspec.Struct, frozen=True):
    width: int
    height: int


class Served(AppService):
    """One console, as a process of its own that speaks over its pipes."""

    program: Sequence[str] = ()
    process: Process | None = None

    async def _open_app_process(self, width: int = 80, height: int = 24) -> Process:
        environment = {**self._build_environment(width, height), "TEXTUAL_FPS": "10"}
        environment.pop("MESHCONSOLE_PASSPHRASE", None)
        self.process = self._process = await asyncio.create_subprocess_exec(
            *self.program,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        self._stdin = self.process.stdin
        return self.process

    async def run(self) -> None:
        """A console that has ended, or did not come up, leaves no page open."""
        await super().run()
        await self.remote_close()

    async def end(self) -> None:
        """Asks it to leave, and does not wait for long: its page may have stopped reading."""
        process = self.process
        if process is None:
            return
        gone = asyncio.create_task(process.wait())
        try:
            if not self.stdin.is_closing():
                self.stdin.write(self.encode_packet(b"M", b'{"type": "quit"}'))
            await asyncio.wait({gone}, timeout=FAREWELL_S)
        finally:  # also where this server ends meanwhile
            if not gone.done():
                os.kill(process.pid, signal.SIGKILL)
            await gone
        if self._task is not None:
            await self._task


class WebConsole:
    """`program` is the command line of one console."""

    def __init__(self, program: Sequence[str], gate: Gate, *, font_size: int) -> None:
        self.program = program
        self.gate = gate
        self.font_size = font_size
        self.open: set[web.WebSocketResponse] = set()
        self.app = web.Application(middlewares=[self._guard], client_max_size=4096)
        statics = Path(textual_serve.__file__).parent / "static"
        self.app.add_routes(
            [
                web.get("/", self._enter),
                web.get(gate.path, self._page),
                web.get(f"{gate.path}{{name:page.css|page.js}}", self._part),
                web.get(f"{gate.path}ws", self._console),
                web.static(f"{gate.path}static", statics),
            ]
        )

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Before anything else, and for every request: gate.py."""
        headers = request.headers
        if not self.gate.host_fits(request.host):
            return self._answer(403, "This server answers to its own address only.")
        if not self.gate.comes_from_here(
            request.host, headers.get("Origin", ""), headers.get("Sec-Fetch-Site", "")
        ):
            return self._answer(403, "Another site's page asks for this.")
        if request.path != "/" and not self.gate.knows(request.cookies.get(COOKIE, "")):
            return self._answer(403, NO_ENTRY)
        try:
            response = await handler(request)
        except web.HTTPException as error:
            return self._answer(error.status, error.reason)
        if not response.prepared:
            response.headers.update(POLICY)
        return response

    @staticmethod
    def _answer(status: int, words: str) -> web.Response:
        return web.Response(status=status, text=f"{words}\n", headers=POLICY)

    async def _enter(self, request: web.Request) -> web.Response:
        secret = self.gate.exchange(request.query.get("token", ""))
        if not secret:
            return self._answer(403, NO_ENTRY)
        # A page that goes on by itself, not a redirect: a cookie that is strict about its site would not be
        # sent along one that another page's link has begun.
        page = web.Response(text=WELCOME.format(path=self.gate.path), content_type="text/html")
        page.set_cookie(COOKIE, secret, path=self.gate.path, httponly=True, samesite="Strict", max_age=KEPT_S)
        return page

    async def _page(self, request: web.Request) -> web.Response:
        socket = f"ws://{request.host}{self.gate.path}ws"
        words = Template((HERE / "page.html").read_text()).substitute(socket=socket, font_size=self.font_size)
        return web.Response(text=words, content_type="text/html")

    async def _part(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        return web.Response(text=(HERE / name).read_text(), content_type=PARTS[name])

    async def _console(self, request: web.Request) -> web.StreamResponse:
        if not self.gate.may_open_socket(request.host, request.headers.get("Origin", "")):
            return self._answer(403, "Another site's page asks for this.")
        if len(self.open) >= MOST_CONSOLES:
            return self._answer(503, f"{MOST_CONSOLES} consoles are open in browsers already.")
        websocket = web.WebSocketResponse(heartbeat=15, max_msg_size=MOST_BYTES)
        self.open.add(websocket)
        try:
            await self._converse(request, websocket)
        finally:
            self.open.discard(websocket)
        return websocket

    async def close(self) -> None:
        for websocket in list(self.open):
            await websocket.close()

    async def _converse(self, request: web.Request, websocket: web.WebSocketResponse) -> None:
        await websocket.prepare(request)

        async def close() -> None:
            await websocket.close()

        service = Served(
            "",
            write_bytes=websocket.send_bytes,
            write_str=websocket.send_str,
            close=close,
            download_manager=DownloadManager(),
        )
        service.program = self.program
        try:
            await service.start(
                _cells(request.query.get("width", ""), 80), _cells(request.query.get("height", ""), 24)
            )
            async for message in websocket:
                if message.type == WSMsgType.TEXT and not await _take(message.data, service, websocket):
                    break
        finally:
            await service.end()
            await websocket.close()


async def _take(text: str, service: Served, websocket: web.WebSocketResponse) -> bool:
    """False for what no page of ours sends: its console ends."""
    try:
        given = msgspec.json.decode(text, type=Input)
        match given.kind:
            case "stdin":
                await service.send_bytes(msgspec.json.decode(given.value, type=str).encode())
            case "resize":
                size = msgspec.json.decode(given.value, type=Size)
                await service.set_terminal_size(_within(size.width), _within(size.height))
            case "ping":
                await websocket.send_json(["pong", msgspec.json.decode(given.value)])
            case "blur":
                await service.blur()
            case "focus":
                await service.focus()
    except (msgspec.DecodeError, UnicodeEncodeError):
        return False
    return True


def _cells(given: str, otherwise: int) -> int:
    return _within(int(given)) if given.isascii() and given.isdigit() and len(given) < 5 else otherwise


def _within(cells: int) -> int:
    return max(1, min(cells, MOST_CELLS))


def serve(
    home: Path, options: Sequence[str], *, port: int, font_size: int, tell: Callable[[str], None]
) -> None:
    """Until it is interrupted. `options` are those of `attach`; `tell` is given the address.

    Raises Fatal if the port cannot be had. What consoles say as they end goes to standard error.
    """
    asyncio.run(_serve(home, options, port, font_size, tell))


async def _serve(
    home: Path, options: Sequence[str], port: int, font_size: int, tell: Callable[[str], None]
) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, ended.set)
    async with opened(program(home, options), port=port, font_size=font_size) as gate:
        tell(gate.address)
        with redirect_stdout(sys.stderr):
            await ended.wait()


@asynccontextmanager
async def opened(program: Sequence[str], *, port: int, font_size: int = 16) -> AsyncIterator[Gate]:
    """The server, until the context is left: then every console ends."""
    with _listening(port) as listening:
        gate = Gate(listening.getsockname()[1])
        console = WebConsole(program, gate, font_size=font_size)
        runner = web.AppRunner(console.app, access_log=None, shutdown_timeout=2 * FAREWELL_S)
        await runner.setup()
        try:
            await web.SockSite(runner, listening).start()
            yield gate
            await console.close()
        finally:
            await runner.cleanup()


def _listening(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((LOOPBACK, port))
    except OSError as error:
        listening.close()
        raise Fatal(
            f"Port {port} on this machine cannot be had: {error.strerror}.",
            hint="Choose another: meshconsole web --port PORT, or 0 for any.",
        ) from error
    return listening


def program(home: Path, options: Sequence[str]) -> list[str]:
    """The command line of one console."""
    return [sys.executable, "-m", "meshconsole", "attach", "--home", str(home), "--in-browser", *options]
