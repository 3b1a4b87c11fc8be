"""The sample for nginx, in a real nginx, in front of a relay: it passes clients on, and TLS ends there."""

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

from meshconsole.core.config import RelaySection
from meshconsole.crypto.web_certificate import make_certificate
from tests.relay.door import door, hear
from tests.relay.making import event_message, signed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).resolve().parents[2]
NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
PATIENCE_S = 20.0

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(NGINX is None, reason="nginx is missing: apt install nginx-light"),
]

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
    assert NGINX is not None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    make_certificate(folder / "fullchain.pem", folder / "privkey.pem", ["localhost"], time.time())
    sample = (ROOT / "deploy" / "proxy" / "nginx.conf").read_text()
    sample = sample.replace("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;")
    sample = sample.replace("    listen [::]:443 ssl;\n", "").replace("127.0.0.1:7447", relay)
    sample = sample.replace("/etc/letsencrypt/live/relay.example", str(folder))
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder, sample=sample))
    process = await asyncio.create_subprocess_exec(
        NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")
    )
    try:
        yield port
    finally:
        process.terminate()
        await process.wait()


async def test_clients_come_through_nginx_by_their_own_address(tmp_path: Path) -> None:
    config = RelaySection(rate_limits=False, trusted_proxies=("127.0.0.1",))
    async with door(config=config) as d, nginx(tmp_path, d.address) as port:
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


async def _reached(url: str, trusting: ssl.SSLContext, headers: dict[str, str]) -> ClientConnection:
    """Once nginx listens."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await connect(url, ssl=trusting, additional_headers=headers, proxy=None)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
