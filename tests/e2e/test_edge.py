"""A whole node with its HTTP edge: what other programs of the machine get, and what they do not."""

from __future__ import annotations

import base64
import hashlib
import json
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from meshconsole.content.formats.cid import Cid
from meshconsole.core.event import encode_event
from meshconsole.crypto.schnorr import sign_event
from scripts.machine import free_port
from tests.e2e.test_plain_clients import STRANGER, device_secret
from tests.edge.dags import car

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scripts.machine import Machine
    from tests.homes import Homes

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SECRET = b"the plans of the north bridge\n" * 100_000


def fetch(url: str, method: str = "GET", data: bytes | None = None, auth: str = "") -> tuple[int, bytes]:
    request = urllib.request.Request(url, data, {"Authorization": auth} if auth else {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_programs_get_what_the_team_stores_sealed(
    machine: Callable[[str], Machine], tmp_path: Path, init: Homes
) -> None:
    alpha = machine("alpha")
    init(alpha, "--team", "Falcon")
    port = free_port()
    alpha.start(f"edge.listen=127.0.0.1:{port}", "edge.fetch_s=1")
    plans = tmp_path / "plans.txt"
    plans.write_bytes(SECRET)
    alpha.command("blobs", "add", str(plans))
    (blob,) = alpha.json("blobs")
    edge = f"http://127.0.0.1:{port}"
    status, body = fetch(f"{edge}/ipfs/{blob['cid']}?format=car")
    roots, cids = car(body)
    assert (status, [str(root) for root in roots]) == (200, [blob["cid"]])
    assert len(cids) == 4
    assert b"north bridge" not in body
    assert b"plans" not in body
    status, told = fetch(f"{edge}/routing/v1/providers/{cids[1]}")
    assert (status, json.loads(told)["Providers"][0]["Addrs"]) == (200, [f"/ip4/127.0.0.1/tcp/{port}/http"])
    missing = Cid.of(0x55, b"nobody has this")
    assert fetch(f"{edge}/ipfs/{missing}?format=raw")[0] == 404
    assert fetch(f"{edge}/ipfs/{blob['cid']}")[0] == 400
    alpha.command("config", "set", "edge.gateway=false")
    assert fetch(f"{edge}/ipfs/{blob['cid']}?format=raw")[0] == 404
    blossom(edge, device_secret(alpha))
    token = alpha.json("edge", "token", "ridge")["token"]
    body = json.dumps({"cid": blob["cid"], "name": "plans"}).encode()
    assert fetch(f"{edge}/pins", "POST", body)[0] == 401
    assert fetch(f"{edge}/pins", "POST", body, f"Bearer {token}")[0] == 202
    (pin,) = alpha.json("edge", "pins")
    assert (pin["token"], pin["name"], pin["status"]) == ("ridge", "plans", "pinned")
    alpha.command("edge", "revoke", "ridge", "--unpin")
    assert fetch(f"{edge}/pins", auth=f"Bearer {token}")[0] == 401
    shown = alpha.json("edge")
    assert (shown["tokens"], shown["blobs"]) == ([], 1)
    assert [part["requests"] for part in shown["edge"]["parts"]] == [3, 1, 4, 3]


def blossom(edge: str, member: bytes) -> None:
    """With the keys that may use the relay."""
    data = b"a picture"
    sha256 = hashlib.sha256(data).hexdigest()
    tags = (("t", "upload"), ("x", sha256), ("expiration", str(int(time.time()) + 60)))
    for secret, status in ((STRANGER, 403), (member, 201)):
        token = encode_event(sign_event(secret, 24242, tags, "", int(time.time())))
        auth = f"Nostr {base64.b64encode(token).decode()}"
        assert fetch(f"{edge}/upload", "PUT", data, auth)[0] == status
    assert fetch(f"{edge}/{sha256}")[0] == 401
    get = (("t", "get"), *tags[1:])
    token = encode_event(sign_event(member, 24242, get, "", int(time.time())))
    assert fetch(f"{edge}/{sha256}", auth=f"Nostr {base64.b64encode(token).decode()}") == (200, data)
