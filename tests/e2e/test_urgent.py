"""What is urgent reaches the other device, waits there through a crash, and its author hears of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from scripts.machine import Machine

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_a_flash_note_waits_for_a_person_and_a_roll_call_is_answered(alpha: Machine, bravo: Machine) -> None:
    alpha.command("send", "--precedence", "flash", "leave the bridge")
    bravo.wait(
        "the alarm", lambda status: [note["text"] for note in status["unread"]] == ["leave the bridge"]
    )
    bravo.kill()
    bravo.start()
    (note,) = bravo.json("status")["unread"]
    assert (note["author"], note["precedence"]) == ("alpha", "flash")

    alpha.command("rollcall", "ask", "all", "there?")
    bravo.wait("the call", lambda status: bool(status["roll_call"] and status["roll_call"]["owed"]))
    bravo.command("rollcall", "answer", "help")

    def bravo_needs_help(status: dict[str, Any]) -> bool:
        return [(row["name"], row["state"]) for row in status["roll_call"]["board"]] == [("bravo", "help")]

    alpha.wait("the answer", bravo_needs_help)
    assert not bravo.json("status")["roll_call"]["owed"]
    bravo.command("receipts", "--read", note["id"])
    assert bravo.json("status")["unread"] == []
    alpha.wait("the receipt", lambda status: "read 1/1" in [sent["state"] for sent in status["sent"]])
