"""A whole team and a member's phone with a plain Nostr client, rust-nostr's, at the team's relay."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect

from meshconsole.core import kinds
from meshconsole.crypto.schnorr import npub_to_bech32, public_key
from tests.e2e.test_plain_clients import PHONE, asked, device_secret, listening, logged_in
from tests.interop.test_relay_nostr_sdk import MISSING
from tests.relay.door import hear, say

if TYPE_CHECKING:
    from scripts.machine import Machine

sdk = pytest.importorskip("nostr_sdk", reason=MISSING)

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.interop]

NPUB = public_key(PHONE)


async def publish(address: str, event: Any) -> Any:  # noqa: ANN401 - the package has no types
    async with connect(f"ws://{address}/", compression=None, proxy=None) as client:
        await logged_in(client, address, PHONE)
        await say(client, "EVENT", json.loads(event.as_json()))
        return await hear(client)


def received(machine: Machine) -> list[Any]:
    wanted: dict[str, object] = {"kinds": [kinds.GIFT_WRAP], "#p": [NPUB]}
    return asyncio.run(asked(listening(machine), PHONE, wanted))


def test_a_phone_and_a_device_write_to_each_other_where_the_team_allows_it(
    alpha: Machine, bravo: Machine
) -> None:
    alpha.command("team", "client", "add", NPUB, "--name", "phone")
    refused = alpha.command("send", "--plain", "--to", NPUB, "not yet", check=False)
    assert refused.returncode == 5
    assert "plain_messages is off" in refused.stderr
    keys, mine = sdk.Keys.parse(PHONE.hex()), public_key(device_secret(alpha))
    answer = sdk.nip17_make_private_msg(keys, sdk.PublicKey.parse(mine), "from the phone")
    bravo.wait("the phone", lambda status: bool(status["team"]["clients"]))
    assert asyncio.run(publish(listening(bravo), answer))[2] is True
    alpha.wait("the wrap", lambda _: any("plain_messages is off" in text for text in alpha.texts()))
    assert "from the phone" not in str(alpha.json("events"))

    alpha.command("team", "policy", "plain_messages=on")
    assert "[not post-quantum] from the phone" in alpha.texts()
    said = alpha.command("send", "--plain", "--to", npub_to_bech32(NPUB), "from alpha").stdout
    assert said == "Sent. It is not post-quantum.\n"
    bravo.wait("the wrap", lambda _: any(view["kind"] == 1059 for view in bravo.json("events")))
    for machine in (alpha, bravo):
        machine.wait("it", lambda _, machine=machine: bool(received(machine)))  # type: ignore[misc]
        (wrap,) = received(machine)
        opened = sdk.UnwrappedGift.from_gift_wrap(keys, sdk.Event.from_json(json.dumps(wrap)))
        assert (opened.sender().to_hex(), opened.rumor().content()) == (mine, "from alpha")
    assert "from" not in " ".join(view["text"] for view in bravo.json("events") if view["kind"] == 1059)

    alpha.kill()
    alpha.start()
    shown = {view["text"]: (view["author"], view["to"]) for view in alpha.json("events")}
    assert shown["[not post-quantum] from the phone"] == ("phone", "alpha")
    assert shown["[not post-quantum] from alpha"] == ("alpha", "phone")
