"""The samples for nginx and Caddy, in real ones before a relay: clients are passed on, TLS ends there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import ClientConnection, connect

from meshconsole.core.sections import RelaySection
from meshconsole.crypto.web_certificate import make_certificate
from tests.relay.door import door, hear
from tests.relay.making import event_message, signed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

ROOT = Path(__file__).resolve().parents[2]
NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
PATIENCE_S = 20.0

CADDY = shutil.which("caddy")

pytestmark = pytest.mark.interop

AROUND = """\
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    client_body_temp_path {folder}; proxy_temp_path {folder};
    fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
    {sample}
}}
"""


@contextlib.asynccontextmanager
async def nginx(folder: Path, relay: str) -> AsyncIterator[int]:
    """The port at which nginx passes on to the relay."""
    port = _free_port()
    sample = (ROOT / "deploy" / "proxy" / "nginx.conf").read_text()
    sample = sample.replace("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;")
    sample = sample.replace("    listen [::]:443 ssl;\n", "").replace("127.0.0.1:7447", relay)
    sample = sample.replace("/etc/letsencrypt/live/relay.example", str(folder))
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder, sample=sample))
    command = ("-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log"))
    async with _running(str(NGINX), *command):
        yield port


@contextlib.asynccontextmanager
async def caddy(folder: Path, relay: str) -> AsyncIterator[int]:
    """As the sample has it, but for the certificate: here no CA can be reached."""
    port = _free_port()
    sample = (ROOT / "deploy" / "proxy" / "Caddyfile").read_text().replace("127.0.0.1:7447", relay)
    here = f"https://localhost:{port} {{\n\ttls {folder}/fullchain.pem {folder}/privkey.pem\n"
    sample = sample.replace("relay.example {\n", here)
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{sample}")
    command = ("run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile")
    async with _running(str(CADDY), *command, XDG_DATA_HOME=str(folder), XDG_CONFIG_HOME=str(folder)):
        yield port


@pytest.mark.parametrize(
    "proxy",
    [
        pytest.param(
            nginx,
            marks=pytest.mark.skipif(NGINX is None, reason="nginx is missing: apt install nginx-light"),
        ),
        pytest.param(
            caddy, marks=pytest.mark.skipif(CADDY is None, reason="caddy is missing: apt install caddy")
        ),
    ],
    ids=["nginx", "caddy"],
)
async def test_clients_come_through_a_proxy_by_their_own_address(
    proxy: Callable[[Path, str], AbstractAsyncContextManager[int]], tmp_path: Path
) -> None:
    make_certificate(tmp_path / "fullchain.pem", tmp_path / "privkey.pem", ["localhost"], time.time())
    config = RelaySection(rate_limits=False, trusted_proxies=("127.0.0.1",))
    async with door(config=config) as d, proxy(tmp_path, d.address) as port:
        trusting = ssl.create_default_context(cafile=tmp_path / "fullchain.pem")
        url = f"wss://localhost:{port}/"
        headers = {"X-Forwarded-For": "192.0.2.99"}  # what a client writes itself
        client = await _reached(url, trusting, headers)
        async with client:
            event = signed(content="through a proxy")
            await client.send(event_message(event).decode())
            assert await hear(client) == ["OK", event.id, True, ""]
            assert d.server.connections == 1
            assert "192.0.2.99" not in str(d.relay.status())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def _running(*command: str, **environment: str) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(*command, env=os.environ | environment)
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def _reached(url: str, trusting: ssl.SSLContext, headers: dict[str, str]) -> ClientConnection:
    """Once the proxy listens."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await connect(url, ssl=trusting, additional_headers=headers, proxy=None)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
