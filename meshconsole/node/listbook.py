"""The relay's lists (NIP-86) as this node keeps them: saved before they count, read at each start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.relay.lists import Lists

if TYPE_CHECKING:
    from meshconsole.node.state import NodeState

LISTS = "relay-lists"


class ListBook:
    def __init__(self, state: NodeState) -> None:
        self._state = state
        self._current = state.get(LISTS, Lists, Lists())

    @property
    def current(self) -> Lists:
        """Whoever judges asks anew each time."""
        return self._current

    def replace(self, lists: Lists) -> None:
        """Durable when it returns; only then does anybody see the new lists. May block."""
        self._state.put(LISTS, lists)
        self._current = lists
