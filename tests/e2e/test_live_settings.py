"""What an owner switches on and off while the node runs, and what becomes of those who are connected."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from meshconsole.core.event import encode_event
from meshconsole.crypto.schnorr import sign_event
from tests.e2e.test_plain_clients import STRANGER, listening

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.machine import Machine

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

WITHIN_S = 20.0


def switch(machine: Machine, name: str, value: str) -> None:
    done = machine.command("config", "set", f"capabilities.{name}={value}")
    assert "next start" not in done.stdout


def paths(status: dict[str, Any]) -> set[str]:
    return {link["path"] for peer in status["peers"] for link in peer["links"]}


def test_the_relay_is_switched_off_and_on_under_its_clients(alpha: Machine) -> None:
    address = listening(alpha)

    async def scene() -> None:
        async with asyncio.timeout(WITHIN_S), connect(f"ws://{address}/", proxy=None) as client:
            await client.recv()  # its challenge
            await asyncio.to_thread(switch, alpha, "nostr_relay", "off")
            assert "switched off" in str(await client.recv())
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == 1008
        with pytest.raises(InvalidStatus, match="503"):
            await connect(f"ws://{address}/", proxy=None)
        assert "nostr_relay" not in alpha.json("status")["capabilities"]
        await asyncio.to_thread(switch, alpha, "nostr_relay", "on")
        async with asyncio.timeout(WITHIN_S), connect(f"ws://{address}/", proxy=None) as client:
            assert "AUTH" in str(await client.recv())

    asyncio.run(scene())


def test_a_relay_that_closes_to_strangers_tells_them_nothing_more(alpha: Machine) -> None:
    """Whoever was let in before is judged by what holds now: for what is live, and for the next question."""
    alpha.command("config", "set", "privacy.share_with_team_only=off", "privacy.require_authentication=off")
    address = listening(alpha)
    note = b'["EVENT",%b]' % encode_event(sign_event(STRANGER, 1, (), "heard", int(time.time())))

    async def scene() -> None:
        async with asyncio.timeout(WITHIN_S), connect(f"ws://{address}/", proxy=None) as client:
            await client.send('["REQ","live",{"kinds":[1]}]')
            while not str(await client.recv()).startswith('["EOSE"'):
                pass
            await client.send(note.decode())
            assert {json.loads(await client.recv())[0] for _ in range(2)} == {"EVENT", "OK"}
            await asyncio.to_thread(
                alpha.command,
                "config",
                "set",
                "privacy.share_with_team_only=on",
                "privacy.require_authentication=on",
            )
            await client.send('["REQ","again",{"kinds":[1]}]')
            said = [json.loads(await client.recv())]
            while said[-1][1] != "again":
                said.append(json.loads(await client.recv()))
            assert said[-1][0] == "CLOSED"
            assert said[-1][2].startswith("auth-required:")
            assert not any(message[0] == "EVENT" for message in said)

    asyncio.run(scene())


def test_data_channels_are_switched_off_and_on_between_two(alpha: Machine, bravo: Machine) -> None:
    for each in (alpha, bravo):
        each.wait("a data channel", lambda status: paths(status) == {"websocket", "webrtc"})
    switch(alpha, "webrtc_hub", "off")
    bravo.wait(
        "that bravo knows",
        lambda status: (
            paths(status) == {"websocket"} and "webrtc_hub" not in status["peers"][0]["capabilities"]
        ),
    )
    switch(alpha, "webrtc_hub", "on")
    for each in (alpha, bravo):
        each.wait("a data channel again", lambda status: paths(status) == {"websocket", "webrtc"})


def test_files_are_switched_off_and_on_under_a_fetch(alpha: Machine, bravo: Machine, tmp_path: Path) -> None:
    switch(alpha, "ipfs_node", "off")
    plans, copy = tmp_path / "plans", tmp_path / "copy"
    plans.write_bytes(b"Meet at the ford.")
    cid = alpha.json("blobs", "add", str(plans))[0]["cid"]
    bravo.wait("the manifest", lambda _: cid in bravo.cids())
    bravo.command("blobs", "fetch", cid)
    alpha.command("send", "after the question")
    bravo.wait("the note", lambda _: "after the question" in bravo.texts())
    (job,) = bravo.json("blobs", "jobs")
    assert (job["cid"], job["state"], job["have_bytes"]) == (cid, "waiting", 0)
    switch(alpha, "ipfs_node", "on")
    bravo.command("blobs", "get", cid, "-o", str(copy))
    assert copy.read_bytes() == plans.read_bytes()
