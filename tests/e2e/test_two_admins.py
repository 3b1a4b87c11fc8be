"""The rule of two admins between real nodes, in a team of the other suite, up to its end by the root key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.machine import Machine
    from tests.homes import Homes

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_a_second_admin_must_agree_until_the_root_key_ends_it(
    machine: Callable[[str], Machine], init: Homes
) -> None:
    alpha, bravo, charlie = (machine(name) for name in ("alpha", "bravo", "charlie"))
    for each in (alpha, bravo, charlie):
        init(each, "--suite", "MC2")
        each.start()
    made = alpha.command("team", "create", "Falcon", "--root")
    (root,) = [line for line in made.stdout.splitlines() if line.startswith("mcroot1")]
    alone = alpha.command("team", "policy", "two_admins=on", check=False)
    assert alone.returncode == 5
    assert "two people" in alone.stderr
    bravo.command("team", "join", alpha.json("team", "invite", "--role", "admin")["text"])
    alpha.command("team", "policy", "two_admins=on")
    bravo.wait("the rule", lambda status: ("two_admins", "on") in status["team"]["rules"])

    invite = alpha.json("team", "invite")["text"]
    refused = charlie.command("team", "join", invite, check=False)
    assert refused.returncode == 5
    assert "second admin must agree" in refused.stderr
    assert [m["name"] for m in alpha.json("team", "members")] == ["alpha", "bravo"]
    bravo.wait("the proposal", lambda status: len(status["team"]["proposals"]) == 1)
    (proposal,) = bravo.json("team", "proposals")
    fingerprint = charlie.json("team", "fingerprint")["groups"]
    assert fingerprint in proposal["words"]
    own = alpha.command("team", "agree", proposal["id"], check=False)
    assert own.returncode == 5
    agreed = bravo.command("team", "agree", proposal["id"][:8])
    assert "team join INVITE" in agreed.stdout
    alpha.wait("charlie", lambda status: len(status["team"]["members"]) == 3)
    charlie.command("team", "join", invite)
    assert "proposal-agreed" in alpha.command("audit").stdout
    assert charlie.json("status")["team"]["role"] == "member"

    raised = alpha.command("team", "role", "charlie", "admin")
    assert "second admin must agree" in raised.stdout
    alpha.command("team", "refuse", alpha.json("team", "proposals")[0]["id"])
    bravo.wait("the end of it", lambda status: not status["team"]["proposals"])

    alpha.command("team", "remove", "bravo", "--yes")
    stuck = alpha.command("team", "policy", "two_admins=off")
    assert "second admin must agree" in stuck.stdout
    alpha.command("team", "root", "policy", "two_admins=off", given=f"{root}\n")
    charlie.wait("one is enough", lambda status: ("two_admins", "off") in status["team"]["rules"])
    alpha.command("team", "role", "charlie", "admin")
    charlie.wait("the role", lambda status: status["team"]["role"] == "admin")
