from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.node.listbook import ListBook
from meshconsole.node.state import NodeState
from meshconsole.relay import lists as acts
from meshconsole.relay.lists import Lists

if TYPE_CHECKING:
    from pathlib import Path

KEY = b"k" * 32


def test_lists_survive_a_restart(tmp_path: Path) -> None:
    state = NodeState(tmp_path / "node.db", KEY)
    book = ListBook(state)
    assert book.current == Lists()
    book.replace(acts.block_ip(acts.rename(book.current, "Hut"), "10.0.0.1", "floods"))
    state.close()
    state = NodeState(tmp_path / "node.db", KEY)
    again = ListBook(state).current
    state.close()
    assert (again.name, again.blocked_ips) == ("Hut", {"10.0.0.1": "floods"})
