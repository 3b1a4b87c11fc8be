"""Whose connection a proxy passes on, and on whose account it goes."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from meshconsole.core.sections import LimitsSection, RelaySection
from meshconsole.crypto.web_certificate import WebCertificate, make_certificate
from meshconsole.relay.places import Place, Places, TurnedAway
from meshconsole.relay.proxies import client_address, is_trusted, networks
from tests.relay.door import door, hear, say
from tests.relay.making import event_message, signed

if TYPE_CHECKING:
    from pathlib import Path

TRUSTED = networks(["127.0.0.1", "10.0.0.0/8", "fd00::/8"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("127.0.0.1", ["192.0.2.7"], "192.0.2.7"),
        ("::ffff:127.0.0.1", ["192.0.2.7"], "192.0.2.7"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("192.0.2.1", ["198.51.100.1"], "192.0.2.1"),
        ("127.0.0.1", ["6.6.6.6, 192.0.2.7"], "192.0.2.7"),
        ("127.0.0.1", ["6.6.6.6", "192.0.2.7, 10.1.2.3"], "192.0.2.7"),
        ("127.0.0.1", ["10.9.9.9, 10.1.2.3"], "127.0.0.1"),
        ("127.0.0.1", ["192.0.2.7:4711"], "192.0.2.7"),
        ("127.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("127.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        ("127.0.0.1", ["unknown"], "127.0.0.1"),
        ("127.0.0.1", ["192.0.2.7, <script>"], "127.0.0.1"),
        ("127.0.0.1", [", ".join(["10.0.0.1"] * 1000)], "127.0.0.1"),
    ],
)
def test_only_the_word_of_a_trusted_proxy_counts(peer: str, forwarded: list[str], client: str) -> None:
    assert client_address(peer, forwarded, TRUSTED) == client


def test_nobody_is_trusted_without_being_named() -> None:
    assert client_address("127.0.0.1", ["192.0.2.7"], ()) == "127.0.0.1"
    assert not is_trusted("no address", TRUSTED)


def test_behind_a_proxy_each_client_has_an_account_of_its_own() -> None:
    places = Places(LimitsSection(max_connections_per_ip=1))
    first, second, third = (places.knock("127.0.0.1", 0.0) for _ in range(3))
    assert isinstance(first, Place)
    assert isinstance(second, Place)
    assert isinstance(third, Place)
    assert places.move(first, "192.0.2.7", 0.0) is None
    assert isinstance(places.move(second, "192.0.2.7", 0.0), TurnedAway)
    assert places.move(third, "192.0.2.8", 0.0) is None
    places.leave(first)
    assert places.move(second, "192.0.2.7", 60.0) is None
    for place in (second, third):
        places.leave(place)
    assert places.handshakes == 0


async def test_the_limit_for_an_address_holds_behind_a_trusted_proxy() -> None:
    config = RelaySection(rate_limits=False, trusted_proxies=("127.0.0.1",))
    async with door(config=config, limits=LimitsSection(max_connections_per_ip=1)) as d:
        url = f"ws://{d.address}/"

        def client(address: str) -> connect:
            return connect(url, additional_headers={"X-Forwarded-For": address}, proxy=None)

        async with client("192.0.2.7") as one, client("192.0.2.8"):
            with pytest.raises(InvalidStatus) as turned_away:
                await client("192.0.2.7")
            assert turned_away.value.response.status_code == 429
            await one.send(event_message(signed()).decode())
            assert (await hear(one))[2] is True
        async with client("192.0.2.7"):
            pass


async def test_a_client_comes_by_wss_with_a_certificate_made_here(tmp_path: Path) -> None:
    files = tmp_path / "tls.pem", tmp_path / "tls.key"
    make_certificate(*files, ["localhost", "127.0.0.1", "fe80::1%eth0"], 1_700_000_000.0)
    certificate = WebCertificate(*files)
    async with door(tls=("127.0.0.1", 0, certificate.context)) as d:
        trusting = ssl.create_default_context(cafile=files[0])
        (address,) = d.server.tls_addresses
        event = signed(content="by wss")
        async with connect(f"wss://{address}/", ssl=trusting, proxy=None) as client, d.connect() as plain:
            await client.send(event_message(event).decode())
            assert await hear(client) == ["OK", event.id, True, ""]
            await say(plain, "REQ", "s", {"ids": [event.id]})
            assert (await hear(plain))[2]["id"] == event.id
            assert d.server.connections == 2
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(f"wss://{address}/", proxy=None)
        reader, writer = await asyncio.open_connection(*address.split(":"))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")  # plain text at the door for TLS
        assert b"HTTP/1.1 101" not in await reader.read()
        writer.close()
