"""`meshconsole web`: the console in a browser on this machine, for a kiosk. An optional extra."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.cli.ask import runs, why_unavailable
from meshconsole.cli.home import home_of
from meshconsole.cli.output import say
from meshconsole.core.errors import Fatal, Unavailable

if TYPE_CHECKING:
    import argparse

PORT = 7480


def configure(_command: str, parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port", type=int, default=PORT, metavar="N", help=f"on 127.0.0.1 (default {PORT}; 0: any)"
    )
    parser.add_argument("--read-only", action="store_true", help="look, but change nothing")
    parser.add_argument("--theme", metavar="NAME", help="this console's colours")
    parser.add_argument("--font-size", type=int, default=16, metavar="PIXELS", help="default 16")
    parser.set_defaults(run=web)


def web(parsed: argparse.Namespace) -> None:
    home = home_of(parsed.home)
    if not 0 <= parsed.port < 1 << 16:
        raise Fatal("A port is a number up to 65535.", exit_code=2)
    if not 6 <= parsed.font_size <= 96:
        raise Fatal("A font size is between 6 and 96 pixels.", exit_code=2)
    try:
        from meshconsole.console.web.server import serve
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("meshconsole"):
            raise
        raise Fatal(
            f"The console for a browser is an extra that is not installed ({error.name} is missing).",
            hint="Install it: pip install 'meshconsole[web]', or in a checkout: make web",
        ) from error
    if not runs(home):
        raise why_unavailable(home, Unavailable("No node runs in this home.", hint="Start it: meshconsole"))
    options = ["--read-only"] if parsed.read_only else []
    options += ["--theme", parsed.theme] if parsed.theme else []
    serve(home.path, options, port=parsed.port, font_size=parsed.font_size, tell=_tell)


def _tell(address: str) -> None:
    """The address first and alone on its line, for programs that open it."""
    print(address, flush=True)
    say("Open it in a browser on this machine. It works once, for whoever opens it first. Ctrl+C ends.")
