"""panic and a node that runs meanwhile; with somebody at the keyboard it is in test_keys_on_a_terminal.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.cli import keys
from meshconsole.control.messages import Reply
from meshconsole.core.errors import Unavailable

if TYPE_CHECKING:
    from meshconsole.control.messages import Command
    from meshconsole.core.home import Home


@pytest.mark.parametrize(
    ("answers", "goes", "done"),
    [
        (True, True, ["asked", "waited"]),
        (True, False, ["asked", "waited", "killed", "waited"]),
        (False, True, ["asked", "killed", "waited"]),
    ],
)
def test_a_node_that_does_not_answer_is_killed_without_a_wait(
    answers: bool, goes: bool, done: list[str], home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def ask(_: Home, command: Command) -> Reply:
        seen.append("asked")
        if not answers:
            raise Unavailable("The node does not answer.")
        return Reply()

    def let_go(_: Home) -> bool:
        seen.append("waited")
        return goes

    monkeypatch.setattr(keys, "is_locked_by_a_node", lambda _: True)
    monkeypatch.setattr(keys, "runs", lambda _: True)
    monkeypatch.setattr(keys, "ask", ask)
    monkeypatch.setattr(keys, "_let_go", let_go)
    monkeypatch.setattr(keys, "kill_node", lambda _: seen.append("killed"))
    keys._end_node(home)
    assert seen == done
