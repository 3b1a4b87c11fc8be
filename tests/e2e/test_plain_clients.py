"""A whole node and plain Nostr clients: the mirrored roster (NIP-43), management over HTTP (NIP-86)."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from meshconsole.core import kinds
from meshconsole.core.event import encode_event
from meshconsole.core.home import Home
from meshconsole.crypto.providers import choose_provider
from meshconsole.crypto.schnorr import public_key, sign_event
from meshconsole.node.opening import open_keystore
from meshconsole.node.setup import make_identity
from meshconsole.relay.management import MEDIA_TYPE
from tests.relay.door import hear, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.machine import Machine

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PHONE = sha256(b"phone").digest()
STRANGER = sha256(b"stranger").digest()


def device_secret(machine: Machine) -> bytes:
    unlocked = open_keystore(Home(machine.home), machine.environment.get("MESHCONSOLE_PASSPHRASE"))
    assert unlocked is not None
    return make_identity(unlocked, choose_provider("auto")).nsec


def listening(machine: Machine) -> str:
    port = machine.json("status")["listen"][0].rpartition(":")[2]
    return f"127.0.0.1:{port}"


async def logged_in(client: ClientConnection, address: str, secret: bytes) -> None:
    verb, challenge = await hear(client)
    assert verb == "AUTH"
    tags = (("relay", f"ws://{address}/"), ("challenge", challenge))
    event = sign_event(secret, kinds.CLIENT_AUTH, tags, "", int(time.time()))
    await say(client, "AUTH", json.loads(encode_event(event)))
    assert (await hear(client))[2] is True


async def asked(address: str, secret: bytes, wanted: dict[str, object]) -> list[Any]:
    """Events that a plain client is shown, or the CLOSED it gets."""
    async with connect(f"ws://{address}/", compression=None, proxy=None) as client:
        await logged_in(client, address, secret)
        await say(client, "REQ", "s", wanted)
        said: list[Any] = []
        while (message := await hear(client))[0] == "EVENT":
            said.append(message[2])
        return said if message[0] == "EOSE" else message


async def http(address: str, head: str, body: bytes = b"") -> tuple[str, Any]:
    reader, writer = await asyncio.open_connection(*address.split(":"))
    writer.write(f"{head}\r\nHost: {address}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    status, _, rest = (await reader.read()).partition(b"\r\n")
    writer.close()
    return status.decode(), json.loads(rest.partition(b"\r\n\r\n")[2])


async def document(address: str) -> Any:  # noqa: ANN401 - any JSON
    return (await http(address, "GET / HTTP/1.1\r\nAccept: application/nostr+json"))[1]


async def manage(address: str, secret: bytes, method: str, *params: object) -> tuple[str, Any]:
    body = json.dumps({"method": method, "params": params}).encode()
    tags = (("u", f"ws://{address}/"), ("method", "POST"), ("payload", sha256(body).hexdigest()))
    token = sign_event(secret, kinds.HTTP_AUTH, tags, "", int(time.time()))
    authorization = base64.b64encode(encode_event(token)).decode()
    head = ("POST / HTTP/1.1", f"Content-Type: {MEDIA_TYPE}", f"Authorization: Nostr {authorization}")
    return await http(address, "\r\n".join(head), body)


async def told(address: str, secret: bytes, members: dict[str, str]) -> Any:  # noqa: ANN401 - any JSON
    """The member list, as soon as it names just these."""
    async with connect(f"ws://{address}/", compression=None, proxy=None) as client:
        await logged_in(client, address, secret)
        await say(client, "REQ", "s", {"kinds": [kinds.MEMBERS]})
        while True:
            message = await hear(client)
            if message[0] == "EVENT":
                named = {tag[1]: tag[2] for tag in message[2]["tags"] if tag[0] == "member"}
                if named == members:
                    return message[2]


def test_the_roster_is_mirrored_and_stays_on_its_node(alpha: Machine, bravo: Machine) -> None:
    mine, theirs = device_secret(alpha), device_secret(bravo)
    members = {public_key(mine): "admin", public_key(theirs): "member"}
    keys: set[str] = set()
    for machine, secret in ((alpha, mine), (bravo, theirs)):
        address = listening(machine)
        listed = asyncio.run(told(address, secret, members))
        information = asyncio.run(document(address))
        assert listed["pubkey"] == information["self"]
        assert {43, 77, 86} <= set(information["supported_nips"])
        keys.add(listed["pubkey"])
        # No other relay's list has come here.
        assert len(asyncio.run(asked(address, secret, {"kinds": [kinds.MEMBERS]}))) == 1
    assert len(keys) == 2
    assert not keys & members.keys()


def test_an_admin_manages_a_node_over_http(alpha: Machine, machine: Callable[[str], Machine]) -> None:
    secret, address = device_secret(alpha), listening(alpha)
    phone = public_key(PHONE)

    def call(method: str, *params: object, by: bytes = secret) -> tuple[str, Any]:
        return asyncio.run(manage(address, by, method, *params))

    assert call("listbannedpubkeys", by=STRANGER)[0] == "HTTP/1.1 403 Forbidden"
    assert asyncio.run(asked(address, PHONE, {"kinds": [1]}))[0] == "CLOSED"
    assert call("allowpubkey", phone, "my phone") == ("HTTP/1.1 200 OK", {"result": True})
    assert asyncio.run(asked(address, PHONE, {"kinds": [1]})) == []
    assert call("changerelayname", "Hut")[1] == {"result": True}
    assert asyncio.run(document(address))["name"] == "Hut"
    assert call("blockip", "127.0.0.1", "a test")[1] == {"result": True}
    with pytest.raises(InvalidStatus, match="503"):
        asyncio.run(asked(address, PHONE, {"kinds": [1]}))
    assert call("unblockip", "127.0.0.1")[1] == {"result": True}, "an admin can take it back"
    alpha.kill()
    alpha.start()
    address = listening(alpha)
    assert asyncio.run(document(address))["name"] == "Hut"
    assert call("listallowedpubkeys")[1]["result"] == [{"pubkey": phone, "reason": "my phone"}]
    audit = alpha.command("audit").stdout
    assert "relay-allowpubkey" in audit
    assert phone in audit
