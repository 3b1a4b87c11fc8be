"""What an admin says reaches every device, and is true or not said at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.machine import Machine
    from tests.homes import Homes

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def linked_to(name: str) -> Callable[[dict[str, Any]], bool]:
    return lambda status: any(peer["name"] == name and peer["links"] for peer in status["peers"])


def test_a_removed_device_loses_its_links_to_everybody(
    alpha: Machine, bravo: Machine, machine: Callable[[str], Machine], init: Homes
) -> None:
    charlie = machine("charlie")
    init(charlie)
    charlie.start()
    charlie.command("team", "join", alpha.json("team", "invite")["text"])
    bravo.wait("a link to charlie", linked_to("charlie"))
    (npub,) = [m["npub"] for m in alpha.json("team", "members") if m["name"] == "charlie"]
    alpha.command("team", "remove", npub, "--yes")
    for each in (alpha, bravo):
        each.wait("the end of the link", lambda status: not linked_to("charlie")(status))
    bravo.command("send", "without charlie")
    alpha.wait("the note", lambda _: "without charlie" in alpha.texts())
    assert "without charlie" not in charlie.texts()


def test_what_was_written_under_a_key_not_yet_here_is_opened_when_the_key_comes(
    alpha: Machine, bravo: Machine
) -> None:
    bravo.kill()
    alpha.command("team", "rotate")
    alpha.command("send", "under the new key")
    bravo.start()
    bravo.wait("the note", lambda _: "under the new key" in bravo.texts())


def test_the_author_of_a_flash_note_learns_who_has_it_and_who_has_read_it(
    alpha: Machine, bravo: Machine
) -> None:
    alpha.command("send", "--precedence", "flash", "fire at the mill")
    alpha.wait("the receipt", lambda status: status["sent"][0]["state"] == "delivered")
    (note,) = [view["id"] for view in bravo.json("events") if view["text"] == "fire at the mill"]
    bravo.command("receipts", "--read", note[:12])
    alpha.wait("the second one", lambda status: status["sent"][0]["state"] == "read 1/1")
    refused = alpha.command("receipts", "--read", note, check=False)
    assert "this device's own" in refused.stderr


def test_removing_and_rotating_work_when_the_storage_is_full(alpha: Machine, bravo: Machine) -> None:
    alpha.command("config", "set", "limits.max_storage_mb=1")
    for _ in range(200):
        if alpha.command("send", "x" * 16_000, check=False).returncode:
            break
    else:
        pytest.fail("the quota never refused")
    alpha.command("team", "rotate")
    alpha.command("config", "set", "limits.max_storage_mb=100")
    alpha.command("send", "after the rotation")
    alpha.kill()
    alpha.start()
    assert "after the rotation" in alpha.texts()
    bravo.wait("the note", lambda _: "after the rotation" in bravo.texts())


def test_a_message_to_one_device_is_read_by_it_and_its_sender_alone(
    alpha: Machine, bravo: Machine, machine: Callable[[str], Machine], init: Homes
) -> None:
    charlie = machine("charlie")
    init(charlie)
    charlie.start()
    charlie.command("team", "join", alpha.json("team", "invite")["text"])
    charlie.wait("a link to alpha", linked_to("alpha"))
    alpha.wait("charlie", lambda status: any(m["name"] == "charlie" for m in status["team"]["members"]))
    alpha.command("send", "--to", "bravo", "at the ford, 0400")
    bravo.wait("the message", lambda _: "at the ford, 0400" in bravo.texts())
    charlie.wait("its outside", lambda _: "sealed; between two other devices" in charlie.texts())
    for each in (alpha, bravo):
        each.kill()
        each.start()
        (view,) = [view for view in each.json("events") if view["kind"] == 4206]
        assert (view["author"], view["to"], view["text"]) == ("alpha", "bravo", "at the ford, 0400")
        assert "to bravo: at the ford, 0400" in each.command("events").stdout
    assert "at the ford" not in str(charlie.json("events"))
