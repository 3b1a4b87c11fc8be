"""Rules for every node, plain clients at the relays, invites that are taken back, and the root key."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest
from websockets.asyncio.client import connect

from meshconsole.crypto.schnorr import npub_to_bech32
from tests.e2e.test_plain_clients import listening, logged_in
from tests.mesh.test_mdns import can_multicast
from tests.relay.making import npub, secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.machine import Machine
    from tests.homes import Homes

CAN_MULTICAST = can_multicast()

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def rule(name: str, value: str) -> Callable[[dict[str, Any]], bool]:
    return lambda status: (name, value) in status["team"]["rules"]


def tells_strangers(status: dict[str, Any]) -> bool:
    return any("strangers are told" in line for line in status["discovery"])


def test_a_rule_holds_on_every_node_whatever_its_owner_set(alpha: Machine, bravo: Machine) -> None:
    bravo.command("config", "set", "privacy.share_with_team_only=off", "privacy.require_authentication=off")
    bravo.wait("a public relay", lambda status: status["relay"]["public"])
    bravo.command("config", "set", "privacy.allow_public_discovery=on")
    bravo.wait("mDNS", lambda status: tells_strangers(status) or not CAN_MULTICAST)
    rules = (
        "require_authentication=on",
        "max_file_mb=1",
        "allow_public_discovery=off",
        "max_event_bytes=2048",
    )
    alpha.command("team", "policy", *rules)
    bravo.wait("a relay that asks", lambda status: not status["relay"]["public"])
    bravo.wait("that strangers hear nothing", lambda status: not tells_strangers(status))
    bravo.wait("the size", rule("max_event_bytes", "2048"))
    with urlopen(Request(f"http://{bravo.address}", headers={"Accept": "application/nostr+json"})) as told:
        assert json.load(told)["limitation"]["max_content_length"] < 2048
    bravo.wait("the rule", rule("max_file_mb", "1"))
    big = bravo.home / "big.bin"
    big.write_bytes(bytes(1_000_001))
    refused = bravo.command("blobs", "add", str(big), check=False)
    assert refused.returncode == 5
    assert "at most 1 MB" in refused.stderr


def test_a_rule_for_the_relay_holds_after_a_restart_too(alpha: Machine) -> None:
    alpha.command("team", "policy", "max_event_bytes=2048")
    for _ in range(2):
        with urlopen(
            Request(f"http://{alpha.address}", headers={"Accept": "application/nostr+json"})
        ) as told:
            assert json.load(told)["limitation"]["max_content_length"] < 2048
        alpha.kill(signal.SIGTERM)
        alpha.start()


def test_a_device_cannot_replace_itself(alpha: Machine) -> None:
    refused = alpha.command("team", "invite", "--replaces", "alpha", check=False)
    assert refused.returncode == 5
    assert "replace itself" in refused.stderr


def test_a_rule_that_is_none_is_refused(alpha: Machine) -> None:
    for given, said in (("colour=red", "no rule colour"), ("rotate_days=0", "does not fit")):
        refused = alpha.command("team", "policy", given, check=False)
        assert refused.returncode == 5
        assert said in refused.stderr


def test_a_phone_is_admitted_on_every_node_and_put_out_again(alpha: Machine, bravo: Machine) -> None:
    phone = npub("phone")
    alpha.command("team", "client", "add", npub_to_bech32(phone), "--name", "phone")
    bravo.wait("the phone", lambda status: [c["npub"] for c in status["team"]["clients"]] == [phone])
    epoch = alpha.json("status")["team"]["epoch"]

    async def until_let_go() -> int | None:
        address = listening(bravo)
        async with connect(f"ws://{address}/", compression=None, proxy=None) as client:
            await logged_in(client, address, secret("phone"))
            await asyncio.to_thread(alpha.command, "team", "client", "remove", "phone")
            async with asyncio.timeout(5):  # the promise
                await client.wait_closed()
            return client.close_code

    assert asyncio.run(until_let_go()) == 1008
    bravo.wait("the phone's end", lambda status: not status["team"]["clients"])
    assert alpha.json("status")["team"]["epoch"] == epoch


def test_a_revoked_invite_lets_nobody_in(
    alpha: Machine, machine: Callable[[str], Machine], init: Homes
) -> None:
    text = alpha.json("team", "invite")["text"]
    (out,) = alpha.json("team", "invites")
    alpha.command("team", "revoke", out["id"])
    assert alpha.json("team", "invites") == []
    stranger = machine("stranger")
    init(stranger)
    stranger.start()
    refused = stranger.command("team", "join", text, check=False)
    assert refused.returncode != 0
    assert "Traceback" not in refused.stderr


def test_a_lost_device_is_replaced_and_its_owner_keeps_the_name(
    alpha: Machine, bravo: Machine, machine: Callable[[str], Machine], init: Homes
) -> None:
    lost = bravo.json("status")["npub"]
    bravo.kill()
    alpha.command("send", "before the loss")
    new = machine("new-laptop")
    init(new)
    new.start()
    new.command("team", "join", alpha.json("team", "invite", "--replaces", "bravo")["text"])
    members = {m["npub"]: m["name"] for m in alpha.json("team", "members")}
    assert lost not in members
    assert members[new.json("status")["npub"]] == "bravo"
    new.wait("what was written before", lambda _: "before the loss" in new.texts())


def test_the_root_key_undoes_what_an_admin_did(machine: Callable[[str], Machine], init: Homes) -> None:
    alpha = machine("alpha")
    init(alpha)
    alpha.start()
    made = alpha.command("team", "create", "Falcon", "--root")
    (root,) = [line for line in made.stdout.splitlines() if line.startswith("mcroot1")]
    bravo = machine("bravo")
    init(bravo)
    bravo.start()
    bravo.command("team", "join", alpha.json("team", "invite", "--role", "admin")["text"])
    wrong = root[:-1] + ("q" if root[-1] != "q" else "p")
    refused = alpha.command("team", "root", "remove", "bravo", given=f"{wrong}\n", check=False)
    assert refused.returncode == 1
    assert "not a root key" in refused.stderr
    alpha.command("team", "root", "remove", "bravo", given=f"{root}\n")
    alpha.wait("bravo's end", lambda status: [m["name"] for m in status["team"]["members"]] == ["alpha"])
    alpha.command("send", "still works")
    assert "still works" in alpha.texts()
